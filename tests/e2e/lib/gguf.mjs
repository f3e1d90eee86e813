// A writer of small GGUF files, whole and hostile: header, metadata, a tensor table, and as much data as it promises or less.
//
//   gguf({ 'general.architecture': 'llama', 'llama.context_length': 4096 }, { tensors: [['a', 32]] })
//   raw().magic().u32(3).u64(0).u64(1).string('x')…  for what no writer should write

const STRING = 8, UINT32 = 4, FLOAT32 = 6, BOOL = 7, ARRAY = 9;

/** Bytes one after the other; numbers are little-endian. */
export function raw() {
    const parts = [];
    const number = (bytes, write) => {
        const b = Buffer.alloc(bytes);
        write(b);
        parts.push(b);
        return self;
    };
    const self = {
        magic: (text = 'GGUF') => self.bytes(Buffer.from(text)),
        u32: (n) => number(4, (b) => b.writeUInt32LE(n)),
        u64: (n) => number(8, (b) => b.writeBigUInt64LE(BigInt(n))),
        f32: (n) => number(4, (b) => b.writeFloatLE(n)),
        bytes: (b) => (parts.push(b), self),
        string: (text) => self.u64(Buffer.byteLength(text)).bytes(Buffer.from(text)),
        value(value) {
            if (typeof value === 'string') return self.u32(STRING).string(value);
            if (typeof value === 'boolean') return self.u32(BOOL).bytes(Buffer.from([value ? 1 : 0]));
            if (Array.isArray(value)) {
                self.u32(ARRAY).u32(STRING).u64(value.length);
                for (const text of value) self.string(text);
                return self;
            }
            return Number.isInteger(value) ? self.u32(UINT32).u32(value) : self.u32(FLOAT32).f32(value);
        },
        get: () => Buffer.concat(parts),
    };
    return self;
}

/** A file that is right in every way, unless data says how many bytes of tensor data to write instead of all. */
export function gguf(metadata, { tensors = [['weight', 32]], data } = {}) {
    const file = raw().magic().u32(3).u64(tensors.length).u64(Object.keys(metadata).length);
    for (const [key, value] of Object.entries(metadata)) file.string(key).value(value);
    let offset = 0;
    for (const [name, elements] of tensors) {
        file.string(name).u32(1).u64(elements).u32(0).u64(offset); // one dimension, F32
        offset += Math.ceil((elements * 4) / 32) * 32;
    }
    const head = file.get();
    const padding = (32 - (head.length % 32)) % 32;
    return Buffer.concat([head, Buffer.alloc(padding + (data ?? offset))]);
}
