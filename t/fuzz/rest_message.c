/*
 * Bytes of a connection as requests: at once, and in pieces whose length the first
 * byte says.  Both must read the same.
 */
#include "fuzz.h"
#include "rest_message.h"

#include <string.h>
#include <strings.h>

struct seen {
    size_t              used;
    enum message_state  state;
    enum err            code;
    size_t              fields, body;
};

static struct seen
feed(const char *bytes, size_t len, size_t piece)
{
    static struct message  m;
    struct seen            seen = { 0 };

    while (seen.used < len && m.state < MESSAGE_DONE) {
        size_t  part = len - seen.used < piece ? len - seen.used : piece;
        size_t  n = message_feed(&m, bytes + seen.used, part);

        FUZZ_MUST(n <= part && (n == part || m.state >= MESSAGE_DONE));
        seen.used += n;
    }

    seen = (struct seen) { seen.used, m.state, m.err.code, m.n, m.body.len };
    FUZZ_MUST((m.state == MESSAGE_BAD) == (m.err.code != ERR_NONE));
    FUZZ_MUST(m.head.len <= MESSAGE_HEAD_MAX && m.body.len <= MESSAGE_BODY_MAX);

    if (m.state == MESSAGE_DONE) {
        FUZZ_MUST(m.method && m.path && (m.minor == 0 || message_field(&m, "Host")));
        FUZZ_MUST(!message_field(&m, "Content-Length") || !m.chunked);
    }

    for (size_t i = 0; m.state == MESSAGE_DONE && i < m.n; i++) {
        FUZZ_MUST(*m.fields[i].name && strpbrk(m.fields[i].value, "\r\n") == NULL);

        for (size_t j = 0; j < i; j++) {
            FUZZ_MUST(!message_is_single(m.fields[i].name)
                      || strcasecmp(m.fields[i].name, m.fields[j].name) != 0);
        }
    }

    message_reset(&m);

    return seen;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct seen  whole, pieces;

    if (len < 2) {
        return 0;
    }

    whole = feed((const char *) data + 1, len - 1, len);
    pieces = feed((const char *) data + 1, len - 1, data[0] % 16 + 1);
    FUZZ_MUST(memcmp(&whole, &pieces, sizeof(whole)) == 0);

    return 0;
}
