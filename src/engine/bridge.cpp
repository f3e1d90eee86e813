/* bridge.cpp: llama.cpp's `common`, a C++ library, behind bridge.h.
 *
 * The one C++ file.  Every entry runs its body in guard (), which turns exceptions into a sentence, so that none crosses into C.
 * In order: errors, reading JSON, chat templates, a request's prompt and constraint, sampling, the reply parser, speculation.
 * "Trap n" is the list in engine.md 2: places where common aborts, loses its message or is weaker than it looks. */
#include "engine/bridge.h"

#include "chat-auto-parser.h"
#include "chat-peg-parser.h"
#include "chat.h"
#include "common.h"
#include "fit.h"
#include "json-schema-to-grammar.h"
#include "json.h"
#include "log.h"
#include "sampling.h"
#include "speculative.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <list>
#include <mutex>
#include <sys/random.h>

using json = common_json;

enum : size_t {
    MAX_PROMPT_BYTES = 16u << 20,
    EXACT_PROMPT_BYTES = 1u << 20, /* up to here a prompt is tokenised even if it cannot fit, to say how long it is */
    MAX_TEMPLATE_BYTES = 256u << 10,
    MAX_GRAMMAR_BYTES = 256u << 10,
    MAX_DEPTH = 200,        /* of brackets in what recursive parsers will read */
    MAX_REPLY_DEPTH = 1000, /* likewise, in a reply */
    MAX_BIASES = 4096,
    MAX_LEARNT = 16,             /* formats that a chat remembers */
    MAX_LEARNT_BYTES = 1u << 20, /* of a key and its format, to be remembered */
    PATIENCE_BYTES = 256,        /* so much reply may fail to parse before it is given up as plain text */
};

/* ---- errors ---------------------------------------------------------------------------------------------------------------- */

struct Failure : std::runtime_error {
    const char *kind;
    Failure (const char *k, const std::string &text) : std::runtime_error (text), kind (k)
    {
    }
};

[[noreturn]] static void
invalid (const std::string &text)
{
    throw Failure ("invalid", text);
}

static std::mutex log_lock;
static std::string log_error;

static void
keep_error (ggml_log_level level, const char *text, void *)
{
    if (level != GGML_LOG_LEVEL_ERROR || !text)
        return;
    std::string line (text, strnlen (text, 500));
    while (!line.empty () && strchr ("\r\n ", line.back ()))
        line.pop_back ();
    std::lock_guard<std::mutex> hold (log_lock);
    if (!line.empty () && log_error.size () < 500)
        log_error += (log_error.empty () ? "" : "; ") + line;
}

void
lb_init (void)
{
    common_log_set_verbosity_thold (0);
    llama_log_set (keep_error, nullptr);
}

const char *
lb_last_log_error (void)
{
    static thread_local std::string lent;
    std::lock_guard<std::mutex> hold (log_lock);
    lent.swap (log_error);
    log_error.clear ();
    return lent.c_str ();
}

static void
tell (char **err, std::string text) noexcept
{
    if (!err)
        return;
    const char *logged = lb_last_log_error ();
    if (text == "std::exception") /* trap 1: rethrown by value, the sentence is lost */
        text = *logged ? logged : "llama.cpp gave no reason";
    else if (*logged && text.find (logged) == std::string::npos)
        text += std::string (" (") + logged + ")";
    *err = strdup (text.c_str ());
}

/* Runs @body; an exception becomes @err, @kind and @failed. */
template <typename R, typename Body>
static R
guard (char **err, const char **kind, R failed, Body body) noexcept
{
    const char *what_kind = "internal";
    try {
        lb_last_log_error ();
        return body ();
    } catch (const Failure &failure) {
        what_kind = failure.kind;
        tell (err, failure.what ());
    } catch (const std::exception &e) {
        tell (err, e.what ());
    } catch (...) {
        tell (err, "unknown C++ exception");
    }
    if (kind)
        *kind = what_kind;
    return failed;
}

template <typename R, typename Body>
static R
guard (char **err, R failed, Body body) noexcept
{
    return guard (err, nullptr, failed, body);
}

static char *
copy_text (const std::string &text)
{
    char *copy = strdup (text.c_str ());
    if (!copy)
        throw std::bad_alloc ();
    return copy;
}

/* ---- reading JSON ------------------------------------------------------------------------------------------------------------ */

/* How deep brackets nest in @text; with @json_strings those inside of "strings" do not count. */
static size_t
bracket_depth (const std::string &text, bool json_strings)
{
    size_t depth = 0, deepest = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.size (); i++) {
        const char c = text[i];
        if (json_strings && quoted && c == '\\')
            i++;
        else if (json_strings && c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '(' || c == '[' || c == '{'))
            deepest = std::max (deepest, ++depth);
        else if (!quoted && depth && (c == ')' || c == ']' || c == '}'))
            depth--;
    }
    return deepest;
}

static json
parse_object (const char *text, const char *what)
{
    const std::string copy (text ? text : "");
    if (bracket_depth (copy, true) > MAX_DEPTH)
        invalid (std::string (what) + " nests too deeply");
    json value;
    try {
        value = json::parse (copy);
    } catch (const std::exception &e) {
        invalid (std::string (what) + " is no JSON: " + e.what ());
    }
    if (!value.is_object ())
        invalid (std::string (what) + " must be a JSON object");
    return value;
}

/* The member, or NULL when it is absent or null. */
static const json *
peek (const json &object, const char *key)
{
    if (!object.contains (key) || object.at (key).is_null ())
        return nullptr;
    return &object.at (key);
}

static double
peek_number (const json &object, const char *key, double fallback, double low, double high)
{
    const json *member = peek (object, key);
    if (!member)
        return fallback;
    const double value = member->is_number () ? member->get<double> () : NAN;
    if (!(value >= low && value <= high))
        invalid (string_format ("%s must be a number from %g to %g", key, low, high));
    return value;
}

static int64_t
peek_int (const json &object, const char *key, int64_t fallback, int64_t low, int64_t high)
{
    const double value = peek_number (object, key, (double) fallback, (double) low, (double) high);
    if (value != std::floor (value))
        invalid (std::string (key) + " must be an integer");
    return (int64_t) value;
}

static bool
peek_bool (const json &object, const char *key, bool fallback)
{
    const json *member = peek (object, key);
    if (!member)
        return fallback;
    if (!member->is_boolean ())
        invalid (std::string (key) + " must be true or false");
    return member->get<bool> ();
}

static std::string
peek_text (const json &object, const char *key, const char *fallback)
{
    const json *member = peek (object, key);
    if (!member)
        return fallback;
    if (!member->is_string ())
        invalid (std::string (key) + " must be a string");
    return member->get<std::string> ();
}

/* ---- chat: the templates of one model ------------------------------------------------------------------------------------- */

/* What common has learnt of a template for one set of tools, schema, choices: all but the prompt. */
struct Learnt {
    std::string key;
    common_chat_params params;
};

struct LbChat {
    const llama_model *model;
    common_chat_templates_ptr templates; /* NULL: the model's own does not parse */
    std::string template_error;
    bool toolless = false; /* the template has no notion of tools: calls go by the default format */
    bool learns = false;   /* the reply format is learnt by rendering probes, which is slow, so @learnt remembers */
    mutable std::mutex lock;
    mutable std::list<Learnt> learnt; /* the last used first */
    size_t longest_piece;             /* bytes of the vocabulary's longest token: what a text has at least in tokens */
};

static void
check_template_text (const std::string &text)
{
    if (text.size () > MAX_TEMPLATE_BYTES)
        throw Failure ("template", "the chat template is too long");
    if (bracket_depth (text, false) > MAX_DEPTH)
        throw Failure ("template", "the chat template nests too deeply");
}

static common_chat_templates_ptr
load_templates (const llama_model *model, const std::string &text, const std::string &bos, const std::string &eos)
{
    const char *own = model && text.empty () ? llama_model_chat_template (model, nullptr) : nullptr;
    const std::string source = own ? own : text;
    check_template_text (source);
    try {
        return common_chat_templates_init (model, text, bos, eos);
    } catch (const std::exception &e) {
        std::string reason = e.what ();
        if (reason == "std::exception") { /* trap 1: parse it again ourselves to hear why */
            try {
                common_chat_template again (source, bos, eos);
            } catch (const std::exception &told) {
                reason = told.what ();
            }
        }
        throw Failure ("template", "the chat template does not parse: " + reason);
    }
}

static common_chat_params
apply_probe (const common_chat_templates *templates, bool thinking)
{
    common_chat_msg message;
    message.role = "user";
    message.content = "Hello";
    common_chat_templates_inputs inputs;
    inputs.messages = { message };
    inputs.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    inputs.enable_thinking = thinking;
    return common_chat_templates_apply (templates, inputs);
}

static char *
info_of (const common_chat_templates *templates)
{
    auto caps = common_chat_templates_get_caps (templates);
    const common_chat_params on = apply_probe (templates, true), off = apply_probe (templates, false);
    const bool switchable = on.supports_thinking && on.prompt != off.prompt;
    const char *thinking = !on.supports_thinking               ? "none"
                           : caps["supports_reasoning_effort"] ? "levels"
                           : switchable                        ? "switch"
                                                               : "always";
    json info = json::object ();
    info["tools"] = caps["supports_tools"];
    info["tool_calls"] = caps["supports_tool_calls"];
    info["parallel"] = caps["supports_parallel_tool_calls"];
    info["system"] = caps["supports_system_role"];
    info["thinking"] = thinking;
    info["thinking_switch"] = switchable;
    info["thinking_start"] = on.thinking_start_tag;
    info["thinking_ends"] = on.thinking_end_tags;
    info["explicit"] = common_chat_templates_was_explicit (templates);
    info["typed_content"] = caps["supports_typed_content"];
    info["object_arguments"] = caps["supports_object_arguments"];
    info["preserve_reasoning"] = caps["supports_preserve_reasoning"];
    info["reasoning_effort"] = caps["supports_reasoning_effort"];
    return copy_text (info.dump_safe ());
}

/* False where common has a parser of its own for the template: that one may change messages as it renders them. */
static bool
is_learnt (const common_chat_templates *templates)
{
    try {
        const std::string source = common_chat_templates_source (templates);
        if (!common_chat_templates_source (templates, "tool_use")
                 .empty ()) /* a second template: leave the choice to common */
            return false;
        autoparser::generation_params probe;
        probe.messages = json::parse (R"([{"role":"user","content":"Hello"}])");
        return !common_chat_try_specialized_template (common_chat_template (source, "", ""), source, probe);
    } catch (const std::exception &) {
        return false;
    }
}

/* Trap 3: such a template gives no grammar even where a call is required. */
static bool
is_toolless (const common_chat_templates *templates)
{
    try {
        common_chat_msg message;
        message.role = "user";
        message.content = "Hello";
        common_chat_templates_inputs probe;
        probe.messages = { message };
        probe.tools = { { "probe", "a probe", R"({"type":"object","properties":{}})" } };
        probe.tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
        return common_chat_templates_apply (templates, probe).grammar.empty ();
    } catch (const std::exception &) {
        return false; /* the request will say why */
    }
}

LbChat *
lb_chat_new (const llama_model *model, const char *template_text, char **err)
{
    return guard<LbChat *> (err, nullptr, [&] {
        auto chat = std::make_unique<LbChat> ();
        chat->model = model;
        try {
            chat->templates = load_templates (model, template_text ? template_text : "", "", "");
        } catch (const Failure &failure) {
            if (template_text)
                throw;
            chat->template_error = failure.what ();
        }
        chat->toolless = chat->templates && is_toolless (chat->templates.get ());
        chat->learns = chat->templates && is_learnt (chat->templates.get ());
        const llama_vocab *vocab = llama_model_get_vocab (model);
        chat->longest_piece = 1;
        for (llama_token id = 0; id < llama_vocab_n_tokens (vocab); id++) {
            const char *text = llama_vocab_get_text (vocab, id);
            chat->longest_piece = std::max (chat->longest_piece, text ? strlen (text) : 0);
        }
        return chat.release ();
    });
}

void
lb_chat_free (LbChat *chat)
{
    delete chat;
}

char *
lb_chat_info (const LbChat *chat, char **err)
{
    return guard<char *> (err, nullptr, [&] {
        if (!chat->templates)
            throw Failure ("template", chat->template_error);
        return info_of (chat->templates.get ());
    });
}

char *
lb_template_info (const char *template_text, const char *bos, const char *eos, char **err)
{
    return guard<char *> (err, nullptr, [&] {
        if (!template_text || !*template_text) /* trap 12: without a text it wants a model, and asserts */
            throw Failure ("template", "the chat template is empty");
        return info_of (load_templates (nullptr, template_text, bos ? bos : "", eos ? eos : "").get ());
    });
}

gguf_context *
lb_gguf_open (FILE *file, char **err)
{
    return guard<gguf_context *> (err, nullptr, [&] {
        gguf_context *head = gguf_init_from_file_ptr (file, { /* no_alloc */ true, /* ctx */ nullptr });
        if (!head)
            throw std::runtime_error ("the head does not parse");
        return head;
    });
}

/* ---- turn: the prompt ---------------------------------------------------------------------------------------------------------- */

/* Bytes of a reply, cut anywhere, become whole valid UTF-8: what is broken turns into U+FFFD, what is unfinished waits. */
struct Utf8Gate {
    std::string waiting;

    static size_t expected (unsigned char lead)
    {
        return lead < 0x80                   ? 1
               : lead >= 0xc2 && lead < 0xe0 ? 2
               : lead >= 0xe0 && lead < 0xf0 ? 3
               : lead >= 0xf0 && lead < 0xf5 ? 4
                                             : 0;
    }

    std::string take (const char *text, size_t length, bool last)
    {
        waiting.append (text, length);
        std::string whole;
        size_t at = 0;
        while (at < waiting.size ()) {
            const size_t want = expected (waiting[at]);
            size_t have = 1;
            while (have < want && at + have < waiting.size () && ((unsigned char) waiting[at + have] & 0xc0) == 0x80)
                have++;
            if (have == want && is_scalar (at, want))
                whole.append (waiting, at, want);
            else if (have < want && at + have == waiting.size () && !last)
                break;
            else
                whole += "\xef\xbf\xbd";
            at += have;
        }
        waiting.erase (0, at);
        return whole;
    }

    /* Neither overlong, nor a surrogate, nor beyond U+10FFFF. */
    bool is_scalar (size_t at, size_t n) const
    {
        const unsigned char a = waiting[at], b = n > 1 ? waiting[at + 1] : 0x80;
        return !(a == 0xe0 && b < 0xa0) && !(a == 0xed && b > 0x9f) && !(a == 0xf0 && b < 0x90) &&
               !(a == 0xf4 && b > 0x8f);
    }
};

struct LbTurn {
    const llama_model *model;
    const llama_vocab *vocab;
    std::string info, prompt;
    bool has_prompt;
    llama_tokens tokens;
    std::vector<llama_token> preserved; /* sorted */
    common_sampler_ptr sampler;
    bool
        takes_best; /* greedy, and nothing changes the logits before: no need for the sampler's pass over the vocabulary */

    /* The reply so far. */
    bool plain; /* no format to parse, or given up: content as it comes */
    bool parse_failed;
    common_chat_parser_params parser;
    std::vector<std::string> openers, thinking_ends; /* marks that open a call, that end reasoning */
    std::vector<std::string> holds;                  /* marks of which a beginning may be held back */
    Utf8Gate utf8;
    std::string reply;
    size_t parsed;        /* bytes of @reply that were understood last */
    size_t settled;       /* @parsed when a delta went out last */
    common_chat_msg sent; /* what the deltas so far add up to */
    std::string sent_tail;
};

static bool
is_text_part (const std::string &type)
{
    return type == "text" || type == "input_text" || type == "output_text" || type == "refusal";
}

/* A content in OpenAI's form as one text; parts are joined by line ends, as common does for templates that want text. */
static std::string
content_text (const json &content, size_t index)
{
    if (content.is_null ())
        return "";
    if (content.is_string ())
        return content.get<std::string> ();
    if (!content.is_array ())
        invalid (string_format ("messages[%zu].content must be a string or an array of parts", index));
    std::string text;
    for (const json &part : content) {
        if (!part.is_object ())
            invalid (string_format ("messages[%zu].content holds a part that is no object", index));
        const std::string type = peek_text (part, "type", "");
        if (!is_text_part (type))
            invalid (string_format ("messages[%zu].content: parts of type \"%s\" are not supported by this model",
                                    index, type.c_str ()));
        if (!text.empty ())
            text += '\n';
        text += peek_text (part, type == "refusal" ? "refusal" : "text", "");
    }
    return text;
}

static common_chat_tool_call
tool_call (const json &call, size_t index)
{
    const json *function = call.is_object () ? peek (call, "function") : nullptr;
    if (!function || !function->is_object ())
        invalid (string_format ("messages[%zu].tool_calls: a call needs a function", index));
    common_chat_tool_call parsed;
    parsed.id = peek_text (call, "id", "");
    parsed.name = peek_text (*function, "name", "");
    if (parsed.name.empty ())
        invalid (string_format ("messages[%zu].tool_calls: a function needs a name", index));
    const json *arguments = peek (*function, "arguments");
    parsed.arguments = !arguments                ? "{}"
                       : arguments->is_string () ? arguments->get<std::string> ()
                                                 : arguments->dump ();
    /* Templates that take arguments as an object get them parsed; what is no JSON goes through as a string. */
    if (bracket_depth (parsed.arguments, true) > MAX_DEPTH || json::parse_no_throw (parsed.arguments).is_discarded ())
        parsed.arguments = parsed.arguments.empty () ? "{}" : json::make (parsed.arguments).dump_safe ();
    return parsed;
}

static std::vector<common_chat_msg>
read_messages (const json &list)
{
    static const struct {
        const char *given, *role;
    } roles[] = {
        { "system", "system" },       { "developer", "system" }, { "user", "user" },
        { "assistant", "assistant" }, { "tool", "tool" },        { "function", "tool" },
    };
    if (!list.is_array () || list.empty ())
        invalid ("messages must be an array with at least one message");
    std::vector<common_chat_msg> messages;
    for (const json &item : list) {
        const size_t index = messages.size ();
        if (!item.is_object ())
            invalid (string_format ("messages[%zu] must be an object", index));
        common_chat_msg message;
        const std::string given = peek_text (item, "role", "");
        for (const auto &row : roles)
            if (given == row.given)
                message.role = row.role;
        if (message.role.empty ())
            invalid ("'messages' array must only contain objects with a 'role' field that is in [user, assistant, "
                     "system, tool]. Got '" +
                     given + "'");
        if (const json *content = peek (item, "content"))
            message.content = content_text (*content, index);
        if (const json *calls = peek (item, "tool_calls")) {
            if (!calls->is_array ())
                invalid (string_format ("messages[%zu].tool_calls must be an array", index));
            for (const json &call : *calls)
                message.tool_calls.push_back (tool_call (call, index));
        }
        message.reasoning_content =
            peek_text (item, peek (item, "reasoning_content") ? "reasoning_content" : "reasoning", "");
        message.tool_name = peek_text (item, "name", "");
        message.tool_call_id = peek_text (item, "tool_call_id", "");
        messages.push_back (message);
    }
    return messages;
}

/* All system messages as one at the head, for templates that raise when they meet one elsewhere.  False when they are that already. */
static bool
gather_system (std::vector<common_chat_msg> &messages)
{
    std::string text;
    std::vector<common_chat_msg> others;
    bool late = false;
    for (size_t i = 0; i < messages.size (); i++) {
        if (messages[i].role != "system") {
            others.push_back (messages[i]);
            continue;
        }
        late = late || i > 0;
        text += (text.empty () ? "" : "\n\n") + messages[i].content;
    }
    if (!late)
        return false;
    common_chat_msg head;
    head.role = "system";
    head.content = text;
    others.insert (others.begin (), head);
    messages = others;
    return true;
}

static void
read_tools (const json &request, common_chat_templates_inputs &inputs)
{
    const json *tools = peek (request, "tools");
    const json *choice = peek (request, "tool_choice");
    std::string only;
    if (choice && choice->is_object ()) { /* trap 10 */
        const json *function = peek (*choice, "function");
        only = function && function->is_object () ? peek_text (*function, "name", "") : "";
        if (only.empty ())
            invalid ("tool_choice names no function");
        inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    } else if (choice) {
        const std::string word = choice->is_string () ? choice->get<std::string> () : "";
        if (word != "auto" && word != "none" && word != "required")
            invalid ("tool_choice must be auto, none, required or name a function");
        inputs.tool_choice = common_chat_tool_choice_parse_oaicompat (word);
    }
    if (tools && !tools->is_array ())
        invalid ("tools must be an array");
    if (tools)
        for (size_t i = 0; i < tools->size (); i++) {
            const json &tool = tools->at (i);
            const json *function = tool.is_object () ? peek (tool, "function") : nullptr;
            if (!function || !function->is_object ())
                invalid (string_format ("tools[%zu] needs a function", i));
            common_chat_tool parsed;
            parsed.name = peek_text (*function, "name", "");
            if (parsed.name.empty ())
                invalid (string_format ("tools[%zu].function needs a name", i));
            parsed.description = peek_text (*function, "description", "");
            const json parameters = common_chat_tool_parameters (*function);
            if (!parameters.is_object ())
                invalid (string_format ("tools[%zu].function.parameters must be an object", i));
            json schema = parameters;
            if (!schema.contains ("type") && !schema.contains ("$ref") && !schema.contains ("anyOf") &&
                !schema.contains ("oneOf"))
                schema["type"] = "object";
            parsed.parameters = schema.dump ();
            if (only.empty () || only == parsed.name)
                inputs.tools.push_back (parsed);
        }
    if (inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED && inputs.tools.empty ())
        invalid (only.empty () ? "tool_choice is required, but there are no tools"
                               : "tool_choice names \"" + only + "\", which is not in tools");
    inputs.parallel_tool_calls = peek_bool (request, "parallel_tool_calls", true);
}

static std::string
read_schema (const json &request)
{
    const json *schema = peek (request, "json_schema");
    if (!schema)
        return "";
    if (!schema->is_object ())
        invalid ("json_schema must be an object");
    if (schema->empty ()) /* any JSON; common takes an empty one for none */
        return R"({"anyOf":[{"type":"object"},{"type":"array"},{"type":"string"},{"type":"number"},{"type":"boolean"},{"type":"null"}]})";
    return schema->dump ();
}

/* Trap 3: most templates let text come before a required call, root ::= "..." space until-161? tool-calls.  Drops that part where
 * the root rule has this shape. */
static std::string
begin_with_call (std::string grammar)
{
    const size_t root = grammar.rfind ("root ::=", 0) == 0 ? 0 : grammar.find ("\nroot ::=");
    if (root == std::string::npos)
        return grammar;
    for (size_t at = root; (at = grammar.find (" until-", at)) < grammar.find ('\n', root + 1); at++) {
        const size_t digits = at + strlen (" until-"), end = grammar.find_first_not_of ("0123456789", digits);
        if (end != std::string::npos && end > digits && grammar[end] == '?')
            grammar.erase (at, end + 1 - at);
    }
    return grammar;
}

struct Prepared {
    common_chat_params chat;
    common_grammar grammar;
    std::vector<std::string> openers; /* marks that open a call, with tool_choice none */
    bool has_tools, parses;
};

static void
read_template_kwargs (const json &request, common_chat_templates_inputs &inputs)
{
    const json *kwargs = peek (request, "template_kwargs");
    if (kwargs && !kwargs->is_object ())
        invalid ("template_kwargs must be an object");
    if (kwargs)
        for (const auto &[key, value] : kwargs->items ())
            inputs.chat_template_kwargs[key] = value.dump ();
    if (kwargs && kwargs->contains ("enable_thinking"))
        inputs.enable_thinking = peek_bool (*kwargs, "enable_thinking", true);
    inputs.enable_thinking = peek_bool (request, "enable_thinking", inputs.enable_thinking);
}

/* Why the template failed: the schemas are part of what it builds, and their errors should name them. */
static void
blame_schemas (const common_chat_templates_inputs &inputs)
{
    auto check = [] (const std::string &schema, const std::string &what) {
        try {
            json_schema_to_grammar (json::parse (schema));
        } catch (const std::exception &e) {
            throw Failure ("grammar", what + " cannot be enforced: " + e.what ());
        }
    };
    if (!inputs.json_schema.empty ())
        check (inputs.json_schema, "the JSON schema");
    for (const common_chat_tool &tool : inputs.tools)
        check (tool.parameters, "the parameters of tool \"" + tool.name + "\"");
}

/* Tools, schema, choices, and the mark that the prompt ends with: what a learnt format depends on. */
static std::string
learnt_key (const common_chat_templates_inputs &inputs, const std::string &generation_prompt)
{
    json key = json::array ();
    for (const common_chat_tool &tool : inputs.tools)
        for (const std::string *text : { &tool.name, &tool.description, &tool.parameters })
            key.push_back (*text);
    for (const auto &[name, value] : inputs.chat_template_kwargs) {
        key.push_back (name);
        key.push_back (value);
    }
    key.push_back (inputs.json_schema);
    key.push_back (generation_prompt);
    key.push_back ((int) inputs.tools.size ());
    key.push_back ((int) inputs.tool_choice);
    key.push_back (inputs.parallel_tool_calls);
    key.push_back (inputs.enable_thinking);
    return key.dump_safe ();
}

/* Applies a template, learning its format only when these tools and choices are new to @chat; NULL remembers nothing. */
static common_chat_params
apply_once (const LbChat *chat, const common_chat_templates *templates, const common_chat_templates_inputs &inputs)
{
    if (!chat || !chat->learns || inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE)
        return common_chat_templates_apply (templates, inputs);
    common_chat_templates_inputs bare = inputs;
    bare.force_pure_content = true; /* renders the same and learns nothing */
    const common_chat_params rendered = common_chat_templates_apply (templates, bare);
    const std::string key = learnt_key (inputs, rendered.generation_prompt);
    {
        std::lock_guard<std::mutex> hold (chat->lock);
        for (auto it = chat->learnt.begin (); it != chat->learnt.end (); ++it)
            if (it->key == key) {
                chat->learnt.splice (chat->learnt.begin (), chat->learnt, it);
                common_chat_params known = it->params;
                known.prompt = rendered.prompt;
                return known;
            }
    }
    const common_chat_params fresh = common_chat_templates_apply (templates, inputs);
    if (key.size () + fresh.grammar.size () + fresh.parser.size () <= MAX_LEARNT_BYTES) {
        Learnt entry = { key, fresh };
        entry.params.prompt.clear ();
        std::lock_guard<std::mutex> hold (chat->lock);
        chat->learnt.push_front (std::move (entry));
        if (chat->learnt.size () > MAX_LEARNT)
            chat->learnt.pop_back ();
    }
    return fresh;
}

static common_chat_params
apply_template (const LbChat *chat, const common_chat_templates *templates, common_chat_templates_inputs &inputs)
{
    std::string reason;
    try {
        return apply_once (chat, templates, inputs);
    } catch (const std::exception &e) {
        reason = e.what ();
    }
    if (gather_system (inputs.messages)) {
        try {
            return apply_once (chat, templates, inputs);
        } catch (const std::exception &) {
        }
    }
    blame_schemas (inputs);
    if (reason.size () > 2000)
        reason.resize (2000);
    throw Failure ("template", "the chat template fails on these messages: " + reason);
}

/* ---- turn: the default format of calls, for templates without a notion of tools (http.md 3.12) --------------------------------- */

static const char CALL_OPEN[] = "[TOOL_REQUEST]", CALL_CLOSE[] = "[END_TOOL_REQUEST]";

static std::string
default_tools_text (const common_chat_templates_inputs &inputs)
{
    std::string text = "You have access to these tools:\n";
    for (const common_chat_tool &tool : inputs.tools) {
        json line = json::object ();
        line["name"] = tool.name;
        line["description"] = tool.description;
        line["parameters"] = json::parse (tool.parameters);
        text += line.dump_safe () + "\n";
    }
    return text + "To call a tool, write " + CALL_OPEN + "{\"name\": the tool's name, \"arguments\": an object}" +
           CALL_CLOSE + " and nothing behind it; its result comes as the next message.";
}

/* Calls in the history become text of the assistant, results text of the user, and the tools are told in the system message.  Results
 * in a row, and a user's message behind them, are one message, for templates in which the roles must alternate. */
static void
write_default_history (common_chat_templates_inputs &inputs)
{
    std::vector<common_chat_msg> messages;
    bool gathering = false;
    for (common_chat_msg message : inputs.messages) {
        for (const common_chat_tool_call &call : message.tool_calls) {
            message.content += (message.content.empty () ? "" : "\n") + std::string (CALL_OPEN) +
                               "{\"name\": " + json::make (call.name).dump_safe () +
                               ", \"arguments\": " + call.arguments + "}" + CALL_CLOSE;
        }
        message.tool_calls.clear ();
        const bool result = message.role == "tool";
        if (result) {
            message.role = "user";
            message.tool_name.clear ();
            message.tool_call_id.clear ();
        }
        if (gathering && message.role == "user")
            messages.back ().content += "\n" + message.content;
        else
            messages.push_back (message);
        gathering = result;
    }
    const std::string text = default_tools_text (inputs);
    if (messages.front ().role == "system") {
        messages.front ().content += "\n\n" + text;
    } else {
        common_chat_msg system;
        system.role = "system";
        system.content = text;
        messages.insert (messages.begin (), system);
    }
    inputs.messages = messages;
}

/* The parser of replies in the default format and, from it, the grammar. */
static void
write_default_format (const common_chat_templates_inputs &inputs, common_chat_params &params)
{
    const bool required = inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    const std::string &start = params.thinking_start_tag, &prompt = params.generation_prompt;
    const std::string end = params.thinking_end_tags.empty () ? "" : params.thinking_end_tags.front ();
    const size_t begun = start.empty () ? std::string::npos : prompt.rfind (start);
    const bool closed = begun != std::string::npos && !end.empty () && prompt.find (end, begun) != std::string::npos;
    const json tools = common_chat_tools_to_json_oaicompat (inputs.tools);

    const common_peg_arena parser = build_chat_peg_parser ([&] (common_chat_peg_builder &p) {
        auto head = p.literal (closed ? prompt : prompt.substr (0, begun));
        if (!closed && !start.empty () && !end.empty ())
            head = head + p.optional (p.literal (start) + p.space () + p.reasoning (p.until (end)) + p.literal (end)) +
                   p.space ();
        const auto call = p.standard_json_tools (CALL_OPEN, CALL_CLOSE, tools, false, true);
        const auto calls = inputs.parallel_tool_calls ? call + p.zero_or_more (p.space () + call) : call;
        if (required)
            return head + calls + p.space () + p.end ();
        return head + p.content (p.until (CALL_OPEN)) + p.optional (calls) + p.space () + p.end ();
    });
    params.format = COMMON_CHAT_FORMAT_PEG_NATIVE;
    params.parser = parser.save ();
    params.grammar_lazy = !required;
    params.grammar = build_grammar (
        [&] (const common_grammar_builder &builder) { parser.build_grammar (builder, params.grammar_lazy); });
    params.grammar_triggers.clear ();
    if (!required)
        params.grammar_triggers.push_back ({ COMMON_GRAMMAR_TRIGGER_TYPE_WORD, CALL_OPEN });
}

static common_chat_params
apply_default_format (const LbChat *memory, const common_chat_templates *templates,
                      const common_chat_templates_inputs &given)
{
    common_chat_templates_inputs inputs = given;
    write_default_history (inputs);
    inputs.tools.clear ();
    inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_AUTO;
    common_chat_params params = apply_template (memory, templates, inputs);
    if (given.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE && given.json_schema.empty ())
        write_default_format (given, params);
    return params;
}

static Prepared
prepare_messages (const LbChat *chat, const json &request)
{
    common_chat_templates_inputs inputs;
    inputs.messages = read_messages (request.at ("messages"));
    inputs.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    read_tools (request, inputs);
    read_template_kwargs (request, inputs);
    if (peek (request, "now"))
        inputs.now = std::chrono::system_clock::from_time_t (peek_int (request, "now", 0, 0, INT64_C (1) << 40));
    inputs.json_schema = read_schema (request);
    if (peek_bool (request, "continue_final", false)) {
        const common_chat_msg &final = inputs.messages.back ();
        if (final.role != "assistant" || !final.tool_calls.empty ())
            invalid ("continue_final needs a last message of the assistant without tool calls");
        inputs.continue_final_message = COMMON_CHAT_CONTINUATION_AUTO;
        inputs.add_generation_prompt = false;
    }

    common_chat_templates_ptr own;
    const std::string text = peek_text (request, "chat_template", "");
    if (!text.empty ())
        own = load_templates (chat->model, text, "", "");

    Prepared done = {};
    const common_chat_templates *templates = own ? own.get () : chat->templates.get ();
    if (!templates)
        throw Failure ("template", chat->template_error);
    const LbChat *memory = own ? nullptr : chat;
    const bool by_default = !inputs.tools.empty () && (own ? is_toolless (templates) : chat->toolless);
    done.chat =
        by_default ? apply_default_format (memory, templates, inputs) : apply_template (memory, templates, inputs);
    if (by_default && inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_NONE)
        done.openers.push_back (CALL_OPEN);
    else if (inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_NONE && !inputs.tools.empty ()) {
        common_chat_templates_inputs with_calls = inputs;
        with_calls.tool_choice = COMMON_CHAT_TOOL_CHOICE_AUTO;
        with_calls.json_schema.clear ();
        for (const common_grammar_trigger &trigger : apply_template (memory, templates, with_calls).grammar_triggers)
            if (trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_WORD)
                done.openers.push_back (trigger.value);
    }
    done.has_tools = !inputs.tools.empty () && inputs.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE;
    done.parses = true;
    if (inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED && done.chat.grammar.empty ()) /* trap 3 */
        throw Failure ("template", "this model's template cannot be made to call a tool");
    if (!done.chat.grammar.empty ()) {
        std::string grammar = done.chat.grammar;
        if (inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED && peek_bool (request, "strict_call", false))
            grammar = begin_with_call (grammar);
        done.grammar = { done.has_tools ? COMMON_GRAMMAR_TYPE_TOOL_CALLS : COMMON_GRAMMAR_TYPE_OUTPUT_FORMAT, grammar };
    } else if (!inputs.json_schema.empty ()) {
        done.grammar = { COMMON_GRAMMAR_TYPE_USER, json_schema_to_grammar (json::parse (inputs.json_schema)) };
    }
    return done;
}

static Prepared
prepare_text (const json &request)
{
    Prepared done = {};
    done.chat.prompt = peek_text (request, "prompt", "");
    common_chat_templates_inputs inputs;
    inputs.json_schema = read_schema (request);
    blame_schemas (inputs);
    if (!inputs.json_schema.empty ())
        done.grammar = { COMMON_GRAMMAR_TYPE_USER, json_schema_to_grammar (json::parse (inputs.json_schema)) };
    return done;
}

static Prepared
prepare (const LbChat *chat, const json &request)
{
    const int n = !!peek (request, "messages") + !!peek (request, "prompt") + !!peek (request, "tokens");
    if (n != 1)
        invalid ("a request has exactly one of messages, prompt and tokens");
    const bool own_grammar = peek (request, "grammar"), schema = peek (request, "json_schema");
    if (own_grammar && schema)
        invalid ("a request has at most one of json_schema and grammar");

    Prepared done = peek (request, "messages") ? prepare_messages (chat, request) : prepare_text (request);
    if (own_grammar) {
        const std::string grammar = peek_text (request, "grammar", "");
        if (done.has_tools)
            invalid ("a grammar cannot be given together with tools");
        if (grammar.size () > MAX_GRAMMAR_BYTES || bracket_depth (grammar, false) > MAX_DEPTH)
            throw Failure ("grammar", "the grammar is too long or nests too deeply");
        if (grammar.compare (0, 11, "%llguidance") == 0) /* trap 8: aborts */
            throw Failure ("grammar", "llguidance grammars are not supported");
        if (!grammar.empty ())
            done.grammar = { COMMON_GRAMMAR_TYPE_USER, grammar };
    }
    return done;
}

static llama_tokens
read_tokens (const json &list, const llama_vocab *vocab)
{
    if (!list.is_array ())
        invalid ("tokens must be an array of token ids");
    llama_tokens tokens;
    tokens.reserve (list.size ());
    for (const json &item : list) {
        const int64_t id = item.is_number_integer () ? item.get<int64_t> () : -1;
        if (id < 0 || id >= llama_vocab_n_tokens (vocab))
            invalid ("tokens: " + item.dump () + " is not a token of this model");
        tokens.push_back ((llama_token) id);
    }
    return tokens;
}

static void
fill_tokens (LbTurn *turn, const LbChat *chat, const json &request)
{
    if (const json *list = peek (request, "tokens"))
        turn->tokens = read_tokens (*list, turn->vocab);
    else {
        const size_t n_ctx = (size_t) peek_int (request, "n_ctx", 0, 0, INT32_MAX);
        const bool hopeless = n_ctx && turn->prompt.size () / chat->longest_piece >= n_ctx;
        if (turn->prompt.size () > MAX_PROMPT_BYTES || (hopeless && turn->prompt.size () > EXACT_PROMPT_BYTES))
            throw Failure ("context", "the prompt is far longer than the context");
        turn->tokens = common_tokenize (turn->vocab, turn->prompt, true, true);
        turn->has_prompt = true;
    }
    if (turn->tokens.empty () && llama_vocab_bos (turn->vocab) != LLAMA_TOKEN_NULL)
        turn->tokens.push_back (llama_vocab_bos (turn->vocab));
    if (turn->tokens.empty ())
        invalid ("the prompt is empty");
}

/* ---- turn: sampling -------------------------------------------------------------------------------------------------------------- */

static void
read_bias (const json &list, const llama_vocab *vocab, std::vector<llama_logit_bias> &biases)
{
    if (!list.is_array () || list.size () > MAX_BIASES)
        invalid (string_format ("logit_bias must be an array of at most %d pairs", (int) MAX_BIASES));
    for (const json &pair : list) {
        if (!pair.is_array () || pair.size () != 2 || !pair.at ((size_t) 0).is_number_integer () ||
            !pair.at (1).is_number ())
            invalid ("logit_bias holds pairs of a token id and a number");
        const int64_t id = pair.at ((size_t) 0).get<int64_t> ();
        if (id < 0 || id >= llama_vocab_n_tokens (vocab))
            invalid ("logit_bias: " + std::to_string (id) + " is not a token of this model");
        const double bias = pair.at (1).get<double> ();
        /* 1e4 outweighs every logit, and stays finite, so that a softmax over it does too. */
        biases.push_back ({ (llama_token) id, bias <= -100 ? -INFINITY : bias >= 100 ? 1e4f : (float) bias });
    }
}

static uint32_t
random_seed (void)
{
    uint32_t seed = 0;
    if (getrandom (&seed, sizeof seed, 0) != (ssize_t) sizeof seed)
        throw std::runtime_error ("no random numbers");
    return seed == LLAMA_DEFAULT_SEED ? 0 : seed;
}

static common_params_sampling
read_sampling (const json &request, const LbTurn *turn)
{
    const json *given = peek (request, "sampling");
    if (given && !given->is_object ())
        invalid ("sampling must be an object");
    const json s = given ? *given : json::object ();
    common_params_sampling p;
    p.no_perf = true;
    p.temp = (float) peek_number (s, "temperature", 0.8, 0, 100);
    p.top_k = (int32_t) peek_int (s, "top_k", 40, -1, INT32_MAX);
    p.top_p = (float) peek_number (s, "top_p", 0.95, 0, 1);
    p.min_p = (float) peek_number (s, "min_p", 0.05, 0, 1);
    p.typ_p = (float) peek_number (s, "typical_p", 1, 0, 1);
    p.xtc_probability = (float) peek_number (s, "xtc_probability", 0, 0, 1);
    p.xtc_threshold = (float) peek_number (s, "xtc_threshold", 0.1, 0, 1);
    p.penalty_repeat = (float) peek_number (s, "repeat_penalty", 1, 1e-3, 1e3);
    p.penalty_present = (float) peek_number (s, "presence_penalty", 0, -100, 100);
    p.penalty_freq = (float) peek_number (s, "frequency_penalty", 0, -100, 100);
    const int64_t longest = std::min (llama_model_n_ctx_train (turn->model), 1 << 20);
    const int64_t last_n = peek_int (s, "repeat_last_n", 64, -1, INT32_MAX);
    p.penalty_last_n = (int32_t) (last_n < 0 ? longest : std::min (last_n, longest));
    p.mirostat = (int32_t) peek_int (s, "mirostat", 0, 0, 2);
    p.mirostat_tau = (float) peek_number (s, "mirostat_tau", 5, 0, 100);
    p.mirostat_eta = (float) peek_number (s, "mirostat_eta", 0.1, 0, 1);
    p.seed = peek (s, "seed") ? (uint32_t) peek_int (s, "seed", 0, 0, UINT32_MAX) : random_seed ();
    if (const json *bias = peek (s, "logit_bias"))
        read_bias (*bias, turn->vocab, p.logit_bias);
    if (p.temp <= 0 || p.top_p <= 0) { /* greedy: the best token after bias and penalties, whatever else is set */
        p.temp = 0;
        p.top_k = 1;
        p.mirostat = 0;
        p.samplers = { COMMON_SAMPLER_TYPE_PENALTIES, COMMON_SAMPLER_TYPE_TOP_K };
    }
    return p;
}

/* With tool_choice none the tools stay in the prompt (the prefix stays the same), but no call can begin (http.md 3.12): where the mark
 * that opens one is a token of its own. */
static void
ban_openers (const Prepared &done, const LbTurn *turn, common_params_sampling &p)
{
    for (const std::string &opener : done.openers) {
        const llama_tokens ids = common_tokenize (turn->vocab, opener, false, true);
        const auto marks = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED;
        if (!ids.empty () && (llama_vocab_get_attr (turn->vocab, ids[0]) & marks))
            p.logit_bias.push_back ({ ids[0], -INFINITY });
    }
}

static void
read_constraint (const json &request, const Prepared &done, const LbTurn *turn, common_params_sampling &p)
{
    p.grammar = done.grammar;
    p.generation_prompt = done.chat.generation_prompt;
    p.preserved_tokens.insert (turn->preserved.begin (), turn->preserved.end ());
    if (done.grammar.type == COMMON_GRAMMAR_TYPE_TOOL_CALLS && done.chat.grammar_lazy) {
        p.grammar_lazy = true;
        for (common_grammar_trigger trigger : done.chat.grammar_triggers) {
            if (trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_WORD) {
                const llama_tokens ids = common_tokenize (turn->vocab, trigger.value, false, true);
                if (ids.size () == 1 && std::binary_search (turn->preserved.begin (), turn->preserved.end (), ids[0])) {
                    trigger.type = COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN;
                    trigger.token = ids[0];
                }
            }
            p.grammar_triggers.push_back (trigger);
        }
        if (p.grammar_triggers.empty ()) { /* it would never start */
            p.grammar = {};
            p.grammar_lazy = false;
        }
    }
    p.reasoning_budget_tokens = (int32_t) peek_int (request, "reasoning_budget", -1, -1, INT32_MAX);
    if (!done.chat.thinking_start_tag.empty () && !done.chat.thinking_end_tags.empty ()) {
        p.reasoning_budget_start = common_tokenize (turn->vocab, done.chat.thinking_start_tag, false, true);
        for (const std::string &tag : done.chat.thinking_end_tags)
            p.reasoning_budget_end.push_back (common_tokenize (turn->vocab, tag, false, true));
        p.reasoning_budget_forced = p.reasoning_budget_end.front ();
    }
}

/* The grammar parser tells its reason to stderr alone, with the whole grammar behind it.  While one of these lives, stderr (a
 * variable in glibc) is a buffer; nothing else in an engine prints at that time. */
struct HeardStderr {
    char *text = nullptr;
    size_t size = 0;
    FILE *real = stderr, *buffer = open_memstream (&text, &size);

    HeardStderr ()
    {
        if (buffer)
            stderr = buffer;
    }
    ~HeardStderr ()
    {
        stderr = real;
        if (buffer)
            fclose (buffer);
        free (text);
    }

    std::string reason ()
    {
        static const char mark[] = "error parsing grammar: ";
        if (buffer)
            fflush (buffer);
        const char *found = buffer ? strstr (text, mark) : nullptr;
        if (!found)
            return "";
        found += strlen (mark);
        return std::string (found, std::min<size_t> (strcspn (found, "\n"), 500));
    }
};

/* common_sampler_init leaks what it has made so far when a grammar fails, and loses the reason (trap 1): so try the grammar alone. */
static void
check_grammar (const LbTurn *turn, const common_params_sampling &p)
{
    HeardStderr heard;
    std::unique_ptr<llama_sampler, void (*) (llama_sampler *)> grammar (
        llama_sampler_init_grammar (turn->vocab, p.grammar.grammar.c_str (), "root"), llama_sampler_free);
    if (!grammar) {
        const std::string reason = heard.reason ();
        throw Failure ("grammar", "the constraint cannot be used" + (reason.empty () ? "" : ": " + reason));
    }
    if (p.grammar_lazy || !common_grammar_needs_prefill (p.grammar))
        return;
    try { /* trap 2: what the template has put behind the prompt must fit, token by token */
        bool first = true;
        for (llama_token token : common_tokenize (turn->vocab, p.generation_prompt, false, true)) {
            const std::string piece = common_token_to_piece (turn->vocab, token, true);
            const bool added_space =
                first && !piece.empty () && isspace (piece[0]) && !isspace (p.generation_prompt[0]);
            first = false;
            if (!added_space)
                llama_sampler_accept (grammar.get (), token);
        }
    } catch (const std::exception &) {
        throw Failure ("grammar", "this model's template and tokenizer cannot be constrained together");
    }
}

static void
make_sampler (LbTurn *turn, common_params_sampling &p)
{
    if (!p.grammar.empty ())
        check_grammar (turn, p);
    turn->sampler.reset (common_sampler_init (turn->model, p));
    int32_t n_suppressed = 0;
    llama_vocab_get_suppress_tokens (turn->vocab, &n_suppressed);
    const bool penalties =
        p.penalty_last_n > 0 && (p.penalty_repeat != 1 || p.penalty_freq != 0 || p.penalty_present != 0);
    turn->takes_best = p.temp <= 0 && !penalties && p.grammar.empty () && p.logit_bias.empty () && n_suppressed == 0 &&
                       p.reasoning_budget_tokens < 0;
    /* Penalties look back into the prompt; the grammar begins behind it. */
    const size_t look_back = std::min (turn->tokens.size (), (size_t) std::max (p.penalty_last_n, 64));
    for (size_t i = turn->tokens.size () - look_back; i < turn->tokens.size (); i++)
        common_sampler_accept (turn->sampler.get (), turn->tokens[i], false);
}

/* True when @prompt ends inside of reasoning. */
static bool
ends_in_reasoning (const common_chat_params &chat)
{
    if (chat.thinking_start_tag.empty ())
        return false;
    const size_t start = chat.generation_prompt.rfind (chat.thinking_start_tag);
    if (start == std::string::npos)
        return false;
    for (const std::string &end : chat.thinking_end_tags)
        if (chat.generation_prompt.find (end, start + chat.thinking_start_tag.size ()) != std::string::npos)
            return false;
    return true;
}

static void
write_info (LbTurn *turn, const Prepared &done, const common_params_sampling &p)
{
    json info = json::object ();
    info["format"] = done.parses ? common_chat_format_name (done.chat.format) : "plain";
    info["constrained"] = !p.grammar.empty () && !p.grammar_lazy;
    info["grammar_bytes"] = p.grammar.grammar.size ();
    info["grammar_lazy"] = p.grammar_lazy;
    info["stops"] = done.chat.additional_stops;
    info["supports_thinking"] = done.chat.supports_thinking;
    info["thinking_start"] = done.chat.thinking_start_tag;
    info["thinking_ends"] = done.chat.thinking_end_tags;
    info["thinking_open"] = ends_in_reasoning (done.chat);
    info["generation_prompt"] = done.chat.generation_prompt;
    info["preserved"] = std::vector<int> (turn->preserved.begin (), turn->preserved.end ());
    info["seed"] = p.seed;
    turn->info = info.dump_safe ();
}

static void
prepare_parser (LbTurn *turn, const Prepared &done, bool continues)
{
    turn->plain = !done.parses;
    if (turn->plain)
        return;
    turn->parser = common_chat_parser_params (done.chat);
    turn->parser.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    if (!done.chat.parser.empty ())
        turn->parser.parser.load (done.chat.parser);
    for (const common_grammar_trigger &trigger : done.chat.grammar_triggers)
        if (trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_WORD)
            turn->openers.push_back (trigger.value);
    turn->holds = turn->openers;
    turn->thinking_ends = done.chat.thinking_end_tags;
    turn->holds.insert (turn->holds.end (), turn->thinking_ends.begin (), turn->thinking_ends.end ());
    turn->holds.push_back (done.chat.thinking_start_tag);
    for (const std::string &text : done.chat.preserved_tokens) {
        const llama_tokens ids = common_tokenize (turn->vocab, text, false, true);
        if (ids.size () == 1)
            turn->preserved.push_back (ids[0]);
    }
    std::sort (turn->preserved.begin (), turn->preserved.end ());
    turn->preserved.erase (std::unique (turn->preserved.begin (), turn->preserved.end ()), turn->preserved.end ());
    if (continues || ends_in_reasoning (done.chat)) /* the beginning that the prompt holds is no delta */
        turn->sent = common_chat_parse ("", true, turn->parser);
}

LbTurn *
lb_turn_new (const LbChat *chat, const char *request_json, char **err, const char **kind)
{
    return guard<LbTurn *> (err, kind, nullptr, [&] {
        const json request = parse_object (request_json, "the request");
        auto turn = std::make_unique<LbTurn> ();
        turn->model = chat->model;
        turn->vocab = llama_model_get_vocab (chat->model);
        const Prepared done = prepare (chat, request);
        turn->prompt = done.chat.prompt;
        prepare_parser (turn.get (), done, peek_bool (request, "continue_final", false));
        common_params_sampling sampling = read_sampling (request, turn.get ());
        ban_openers (done, turn.get (), sampling);
        fill_tokens (turn.get (), chat, request);
        read_constraint (request, done, turn.get (), sampling);
        make_sampler (turn.get (), sampling);
        write_info (turn.get (), done, sampling);
        return turn.release ();
    });
}

void
lb_turn_free (LbTurn *turn)
{
    delete turn;
}

LbView
lb_turn_view (const LbTurn *turn)
{
    LbView view = {};
    view.info_json = turn->info.c_str ();
    view.prompt = turn->has_prompt ? turn->prompt.c_str () : nullptr;
    view.prompt_length = turn->prompt.size ();
    view.tokens = turn->tokens.data ();
    view.n_tokens = (int) turn->tokens.size ();
    return view;
}

bool
lb_turn_preserves (const LbTurn *turn, llama_token token)
{
    return std::binary_search (turn->preserved.begin (), turn->preserved.end (), token);
}

static llama_token
sample (LbTurn *turn, llama_context *context, int32_t row)
{
    const float *logits = llama_get_logits_ith (context, row);
    if (!logits)
        throw std::runtime_error (string_format ("row %d of the batch has no logits", row));
    if (turn->takes_best)
        return (llama_token) (std::max_element (logits, logits + llama_vocab_n_tokens (turn->vocab)) - logits);
    const llama_token token = common_sampler_sample (turn->sampler.get (), context, row);
    const llama_token_data_array *candidates = common_sampler_get_candidates (turn->sampler.get (), false);
    /* When every token is refused one is drawn all the same, and the grammar would abort on it. */
    if (candidates->selected < 0 || !(candidates->data[candidates->selected].logit > -INFINITY))
        throw Failure ("grammar", "no token of the vocabulary meets the constraint");
    return token;
}

int
lb_turn_draw (LbTurn *turn, llama_context *context, const int32_t *rows, const llama_token *draft, int n_draft,
              llama_token *out, char **err)
{
    return guard (err, -1, [&] {
        int n = 0;
        for (int i = 0; i <= n_draft; i++) {
            const llama_token token = sample (turn, context, rows[i]);
            common_sampler_accept (turn->sampler.get (), token, true);
            out[n++] = token;
            if (i == n_draft || draft[i] != token || llama_vocab_is_eog (turn->vocab, token))
                break;
        }
        return n;
    });
}

int
lb_logprobs (llama_context *context, int32_t row, llama_token chosen, float *chosen_logprob, int n, llama_token *ids,
             float *logprobs)
{
    return guard (nullptr, -1, [&] {
        const float *logits = llama_get_logits_ith (context, row);
        const int n_vocab = llama_vocab_n_tokens (llama_model_get_vocab (llama_get_model (context)));
        if (!logits)
            return -1;
        const float highest = *std::max_element (logits, logits + n_vocab);
        double sum = 0;
        for (int i = 0; i < n_vocab; i++)
            sum += std::exp ((double) logits[i] - highest);
        auto logprob = [&] (llama_token id) {
            const double value = (double) logits[id] - highest - std::log (sum);
            return std::isfinite (value) ? (float) value : -1e9f; /* JSON has no infinity */
        };
        if (chosen >= 0 && chosen < n_vocab && chosen_logprob)
            *chosen_logprob = logprob (chosen);
        std::vector<llama_token> order (n_vocab);
        for (int i = 0; i < n_vocab; i++)
            order[i] = i;
        n = std::clamp (n, 0, n_vocab);
        std::partial_sort (order.begin (), order.begin () + n, order.end (), [&] (llama_token a, llama_token b) {
            return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
        });
        for (int i = 0; i < n; i++) {
            ids[i] = order[i];
            logprobs[i] = logprob (order[i]);
        }
        return n;
    });
}

/* ---- turn: the reply -------------------------------------------------------------------------------------------------------------- */

static bool
begins_with (const std::string &text, const std::string &head)
{
    return text.compare (0, head.size (), head) == 0;
}

static bool
same_line (const std::string &a, const std::string &b)
{
    return begins_with (a, b) || begins_with (b, a);
}

/* Whether @now only adds to @sent.  A field may be shorter than before: what a partial parse holds back differs from time to time. */
static bool
extends (const common_chat_msg &sent, const common_chat_msg &now)
{
    if (!same_line (sent.reasoning_content, now.reasoning_content) || !same_line (sent.content, now.content) ||
        now.tool_calls.size () < sent.tool_calls.size ())
        return false;
    for (size_t i = 0; i < sent.tool_calls.size (); i++)
        if (sent.tool_calls[i].name != now.tool_calls[i].name ||
            !same_line (sent.tool_calls[i].arguments, now.tool_calls[i].arguments))
            return false;
    return true;
}

static void
send (LbTurn *turn, json &deltas, json delta, const std::string &text)
{
    deltas.push_back (delta);
    turn->settled = turn->parsed;
    if (!text.empty ())
        turn->sent_tail = text;
}

static void
send_text (LbTurn *turn, json &deltas, const char *key, std::string &sent, const std::string &now)
{
    if (now.size () <= sent.size ())
        return;
    const std::string more = now.substr (sent.size ());
    json delta = json::object ();
    delta[key] = more;
    send (turn, deltas, delta, more);
    sent = now;
}

static void
send_calls (LbTurn *turn, json &deltas, const std::vector<common_chat_tool_call> &calls, bool last)
{
    for (size_t i = 0; i < calls.size (); i++) {
        common_chat_tool_call now = calls[i];
        const bool known = i < turn->sent.tool_calls.size (), settled = last || i + 1 < calls.size ();
        if (now.arguments.empty () && settled)
            now.arguments = "{}";
        if (!known && (now.name.empty () || (now.arguments.empty () && !settled)))
            return; /* the name may still grow */
        if (!known)
            turn->sent.tool_calls.emplace_back ();
        common_chat_tool_call &sent = turn->sent.tool_calls[i];
        if (known && now.arguments.size () <= sent.arguments.size ())
            continue;
        const std::string more = now.arguments.substr (sent.arguments.size ());
        json delta = json::object ();
        delta["call"] = (int) i;
        if (!known && !now.id.empty ())
            delta["id"] = now.id;
        if (!known)
            delta["name"] = now.name;
        if (!more.empty ())
            delta["args"] = more;
        send (turn, deltas, delta, more);
        sent = now;
    }
}

/* How many bytes of the reply the deltas so far stand for: up to behind the text that went out last, found from the back. */
static size_t
consumed (const LbTurn *turn)
{
    if (turn->sent_tail.empty ())
        return turn->settled;
    const std::string tail =
        turn->sent_tail.substr (turn->sent_tail.size () - std::min<size_t> (turn->sent_tail.size (), 48));
    const size_t at =
        turn->settled < tail.size () ? std::string::npos : turn->reply.rfind (tail, turn->settled - tail.size ());
    return at == std::string::npos ? turn->settled : at + tail.size ();
}

/* Parses the first @length bytes.  False when they leave the format, or contradict what was sent. */
static bool
understand (const LbTurn *turn, size_t length, common_chat_msg &now)
{
    const std::string text = turn->reply.substr (0, length);
    if (bracket_depth (text, false) > MAX_REPLY_DEPTH)
        return false;
    try { /* "not partial" throws where the text leaves the format; unfinished text is fine either way */
        now = common_chat_parse (text, false, turn->parser);
        return extends (turn->sent, now);
    } catch (const std::exception &) {
        return false;
    }
}

static void
deliver (LbTurn *turn, json &deltas, const common_chat_msg &now, size_t length, bool last)
{
    turn->parsed = length;
    send_text (turn, deltas, "reasoning", turn->sent.reasoning_content, now.reasoning_content);
    send_text (turn, deltas, "content", turn->sent.content, now.content);
    send_calls (turn, deltas, now.tool_calls, last);
}

/* The reply is not what its format promised (trap 5): as far as it parses it is delivered, the rest comes as content, and so does
 * all that follows. */
static void
give_up (LbTurn *turn, json &deltas)
{
    size_t good = turn->parsed, bad = turn->reply.size ();
    common_chat_msg now;
    while (bad - good > 1) {
        size_t middle = good + (bad - good) / 2;
        while (middle > good && ((unsigned char) turn->reply[middle] & 0xc0) == 0x80)
            middle--;
        if (middle == good)
            break;
        (understand (turn, middle, now) ? good : bad) = middle;
    }
    if (good > turn->parsed && understand (turn, good, now))
        deliver (turn, deltas, now, good, false);

    std::string rest = turn->reply.substr (turn->sent.tool_calls.empty () ? consumed (turn) : turn->parsed);
    const size_t first = rest.find_first_not_of (" \r\n\t");
    for (const std::string &mark : turn->thinking_ends)
        if (first != std::string::npos && !mark.empty () && rest.compare (first, mark.size (), mark) == 0) {
            rest.erase (0, first + mark.size ());
            break;
        }
    turn->plain = turn->parse_failed = true;
    turn->parsed = turn->reply.size ();
    send_text (turn, deltas, "content", turn->sent.content, turn->sent.content + rest);
}

/* The reply has ended with the beginning of a mark that was held back: it is text after all. */
static void
release_held (LbTurn *turn, json &deltas)
{
    if (!turn->sent.tool_calls.empty () || turn->sent_tail.empty ())
        return;
    const std::string rest = turn->reply.substr (consumed (turn));
    for (const std::string &mark : turn->holds)
        if (!rest.empty () && rest.size () < mark.size () && begins_with (mark, rest)) {
            const bool thinking = turn->sent.content.empty ();
            std::string &sent = thinking ? turn->sent.reasoning_content : turn->sent.content;
            send_text (turn, deltas, thinking ? "reasoning" : "content", sent, sent + rest);
            return;
        }
}

/* The reply has ended behind the mark that opens a call, and before there was a call: it is text after all. */
static void
release_unfinished_call (LbTurn *turn, json &deltas)
{
    const std::string rest = turn->reply.substr (consumed (turn));
    size_t begin = std::string::npos;
    for (const std::string &opener : turn->openers)
        if (!opener.empty ())
            begin = std::min (begin, rest.find (opener));
    if (begin == std::string::npos)
        return;
    turn->parse_failed = true;
    send_text (turn, deltas, "content", turn->sent.content, turn->sent.content + rest.substr (begin));
}

static void
parse_reply (LbTurn *turn, json &deltas, bool last)
{
    common_chat_msg now;
    if (understand (turn, turn->reply.size (), now)) {
        deliver (turn, deltas, now, turn->reply.size (), last);
        if (last) {
            release_held (turn, deltas);
            release_unfinished_call (turn, deltas);
        }
    } else if (last || turn->reply.size () - turn->parsed > PATIENCE_BYTES) {
        give_up (turn, deltas);
    }
}

char *
lb_turn_feed (LbTurn *turn, const char *text, size_t length, bool last, char **err)
{
    return guard<char *> (err, nullptr, [&] {
        const std::string fresh = turn->utf8.take (text, length, last);
        json deltas = json::array ();
        if (!turn->plain) {
            turn->reply += fresh;
            parse_reply (turn, deltas, last);
        } else if (!fresh.empty ()) {
            json delta = json::object ();
            delta["content"] = fresh;
            deltas.push_back (delta);
        }
        return copy_text (deltas.dump_safe ());
    });
}

bool
lb_turn_parse_failed (const LbTurn *turn)
{
    return turn->parse_failed;
}

/* ---- estimates ---------------------------------------------------------------------------------------------------------------------- */

static ggml_type
cache_type (const json &options, const char *key)
{
    static const ggml_type types[] = { GGML_TYPE_F16,  GGML_TYPE_F32,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,  GGML_TYPE_Q4_0,
                                       GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_IQ4_NL };
    const std::string name = peek_text (options, key, "f16");
    for (ggml_type type : types)
        if (name == ggml_type_name (type))
            return type;
    invalid (std::string (key) + ": \"" + name + "\" is no type of cache");
}

char *
lb_estimate (const char *model_path, const char *options_json, char **err)
{
    char *answer = guard<char *> (err, nullptr, [&] {
        const json options = parse_object (options_json, "the options");
        llama_model_params model = llama_model_default_params ();
        llama_context_params context = llama_context_default_params ();
        context.n_ctx = (uint32_t) peek_int (options, "n_ctx", 0, 0, 1 << 28);
        context.n_seq_max = (uint32_t) peek_int (options, "parallel", 4, 1, 256);
        context.n_batch = (uint32_t) peek_int (options, "n_batch", 2048, 1, 1 << 20);
        context.n_ubatch = (uint32_t) peek_int (options, "n_ubatch", 512, 1, 1 << 20);
        context.n_batch = std::max (context.n_batch, context.n_seq_max); /* less is an assertion */
        context.n_outputs_max = context.n_seq_max;
        context.type_k = cache_type (options, "type_k");
        context.type_v = cache_type (options, "type_v");
        context.kv_unified = peek_bool (options, "kv_unified", true);
        context.embeddings = peek_bool (options, "embedding", false);
        if (peek (options, "flash_attn"))
            context.flash_attn_type = peek_bool (options, "flash_attn", true) ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                                                                              : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        if (context.embeddings)
            context.n_outputs_max = context.n_ubatch = context.n_batch;
        std::vector<ggml_backend_dev_t> devices;
        uint32_t n_layer = 0, n_ctx_train = 0, n_expert = 0;
        const auto data = common_get_device_memory_data (model_path, &model, &context, devices, n_layer, n_ctx_train,
                                                         n_expert, GGML_LOG_LEVEL_ERROR);
        json info = json::object (), list = json::array (), total = json::object ();
        size_t sums[3] = {};
        for (size_t i = 0; i < data.size (); i++) {
            json row = json::object ();
            row["name"] = i < devices.size () ? ggml_backend_dev_name (devices[i]) : "CPU"; /* the last is the host */
            row["model"] = data[i].model;
            row["context"] = data[i].context;
            row["compute"] = data[i].compute;
            row["total"] = data[i].total;
            row["free"] = data[i].free;
            list.push_back (row);
            sums[0] += data[i].model, sums[1] += data[i].context, sums[2] += data[i].compute;
        }
        total["model"] = sums[0];
        total["context"] = sums[1];
        total["compute"] = sums[2];
        info["n_ctx"] = context.n_ctx ? context.n_ctx : n_ctx_train;
        info["n_ctx_train"] = n_ctx_train;
        info["n_layer"] = n_layer;
        info["n_expert"] = n_expert;
        info["devices"] = list;
        info["total"] = total;
        return copy_text (info.dump_safe ());
    });
    lb_init (); /* an exception leaves llama's logger pointing at a dead frame */
    return answer;
}

/* ---- speculation -------------------------------------------------------------------------------------------------------------------- */

struct LbSpec {
    common_params_speculative params;
    common_speculative_ptr spec;
    int n_seq;
    std::vector<llama_tokens> history, drafts; /* by sequence */
    std::vector<int> offered;                  /* length of the last draft, by sequence */
};

LbSpec *
lb_spec_new (const char *config_json, llama_context *target, llama_context *draft, int n_seq, char **err)
{
    return guard<LbSpec *> (err, nullptr, [&] {
        const json config = parse_object (config_json, "the configuration");
        auto s = std::make_unique<LbSpec> ();
        const std::string kind = peek_text (config, "kind", "draft");
        const std::string name = kind == "draft" ? "draft-simple" : kind;
        if (n_seq < 1 || n_seq > (int) llama_n_seq_max (target))
            invalid ("sequences beyond the context's");
        if (begins_with (name, "draft") != (draft != nullptr))
            invalid (draft ? "a draft context is given for speculation without one"
                           : "speculation by a draft model needs its context");
        if (draft && (int) llama_n_seq_max (draft) < n_seq)
            invalid ("the draft context has too few sequences");
        s->params.types = common_speculative_types_from_names ({ name });
        s->params.draft.ctx_tgt = target;
        s->params.draft.ctx_dft = draft;
        s->params.draft.n_max = (int32_t) peek_int (config, "n_max", 3, 1, 64);
        s->params.draft.n_min = (int32_t) peek_int (config, "n_min", 0, 0, 64);
        s->params.draft.p_min = (float) peek_number (config, "p_min", 0, 0, 1);
        s->n_seq = n_seq;
        s->history.resize (n_seq);
        s->drafts.resize (n_seq);
        s->offered.assign (n_seq, 0);
        s->spec.reset (common_speculative_init (s->params, (uint32_t) n_seq));
        if (!s->spec)
            invalid ("\"" + kind + "\" speculates nothing");
        return s.release ();
    });
}

void
lb_spec_free (LbSpec *spec)
{
    delete spec;
}

int
lb_spec_process (LbSpec *spec, llama_batch batch, char **err)
{
    return guard (err, -1, [&] {
        for (int i = 0; i < batch.n_tokens; i++)
            if (batch.n_seq_id[i] != 1 || batch.seq_id[i][0] < 0 || batch.seq_id[i][0] >= spec->n_seq) /* trap 8 */
                throw std::runtime_error ("a batch row for the speculator belongs to one of its sequences");
        if (!common_speculative_process (spec->spec.get (), batch))
            throw std::runtime_error ("the draft model failed to decode");
        return 0;
    });
}

int
lb_spec_draft (LbSpec *spec, LbWant *wants, int n, char **err)
{
    return guard (err, -1, [&] {
        for (int i = 0; i < n; i++) {
            LbWant &want = wants[i];
            want.n_out = 0;
            if (want.seq < 0 || want.seq >= spec->n_seq || want.n_max < 1)
                throw std::runtime_error ("a draft for no sequence of the speculator");
            spec->history[want.seq].assign (want.history, want.history + want.n_history);
            spec->drafts[want.seq].clear ();
            spec->offered[want.seq] = 0;
            if (want.fresh)
                common_speculative_begin (spec->spec.get (), want.seq, spec->history[want.seq]);
            auto &p = common_speculative_get_draft_params (spec->spec.get (), want.seq);
            p.drafting = true;
            p.n_max = want.n_max;
            p.pos0 = want.pos0;
            p.id_last = want.last;
            p.prompt = &spec->history[want.seq];
            p.result = &spec->drafts[want.seq];
        }
        common_speculative_draft (spec->spec.get ());
        for (int i = 0; i < n; i++) {
            const llama_tokens &draft = spec->drafts[wants[i].seq];
            wants[i].n_out = (int) std::min (draft.size (), (size_t) wants[i].n_max);
            std::copy_n (draft.begin (), wants[i].n_out, wants[i].out);
            spec->offered[wants[i].seq] = wants[i].n_out;
        }
        return 0;
    });
}

int
lb_spec_accept (LbSpec *spec, llama_seq_id seq, int n_accepted)
{
    return guard (nullptr, -1, [&] {
        if (seq < 0 || seq >= spec->n_seq || n_accepted < 0 || n_accepted > spec->offered[seq])
            throw std::runtime_error ("more accepted than drafted");
        if (spec->offered[seq] > 0) /* common asserts on a sequence that never drafted */
            common_speculative_accept (spec->spec.get (), seq, (uint16_t) n_accepted);
        spec->offered[seq] = 0;
        return 0;
    });
}
