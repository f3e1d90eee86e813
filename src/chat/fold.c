/* fold.c: the events of one reply, gathered into one value. */
#include "chat/chat.h"

static void
call_free (gpointer data)
{
    ChatCall *call = data;
    g_free (call->id);
    g_free (call->name);
    g_string_free (call->arguments, TRUE);
    g_free (call);
}

ChatFold *
chat_fold_new (void)
{
    ChatFold *fold = g_new0 (ChatFold, 1);
    fold->content = g_string_new (NULL);
    fold->reasoning = g_string_new (NULL);
    fold->calls = g_ptr_array_new_with_free_func (call_free);
    return fold;
}

void
chat_fold_free (ChatFold *fold)
{
    if (!fold)
        return;
    g_string_free (fold->content, TRUE);
    g_string_free (fold->reasoning, TRUE);
    if (fold->prompt)
        g_string_free (fold->prompt, TRUE);
    g_ptr_array_unref (fold->calls);
    json_decref (fold->logprobs);
    g_free (fold->result.stop_string);
    g_free (fold);
}

void
chat_fold_add (ChatFold *fold, const ChatEvent *event)
{
    switch (event->type) {
    case CHAT_STARTED:
        if (event->text && !fold->prompt)
            fold->prompt = g_string_new_len (event->text, event->length);
        break;
    case CHAT_CONTENT:
        g_string_append_len (fold->content, event->text, event->length);
        break;
    case CHAT_REASONING:
        g_string_append_len (fold->reasoning, event->text, event->length);
        break;
    case CHAT_CALL_BEGIN: {
        ChatCall *call = g_new0 (ChatCall, 1);
        call->id = g_strdup (event->call_id);
        call->name = g_strdup (event->call_name);
        call->arguments = g_string_new (NULL);
        g_ptr_array_add (fold->calls, call);
        break;
    }
    case CHAT_CALL_ARGUMENTS:
        if (fold->calls->len > 0) {
            ChatCall *call = g_ptr_array_index (fold->calls, fold->calls->len - 1);
            g_string_append_len (call->arguments, event->text, event->length);
        }
        break;
    case CHAT_LOGPROBS:
        if (!fold->logprobs)
            fold->logprobs = json_array ();
        json_array_extend (fold->logprobs, (json_t *) event->logprobs);
        break;
    case CHAT_DONE:
        fold->result = *event->result;
        fold->result.stop_string = g_strdup (event->result->stop_string);
        fold->done = TRUE;
        break;
    default:
        break;
    }
}
