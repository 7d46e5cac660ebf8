/* Bytes of a connection to one request: where its head and its body end. */
#include "rest_message.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define HEX_MAX  8                  /* digits of a chunk's size */

static void
bytes_free(struct message_bytes *b)
{
    OPENSSL_clear_free(b->bytes, b->size);
    *b = (struct message_bytes) { 0 };
}

/* Bytes behind those that there are, and a NUL that is not counted. */
static bool
bytes_add(struct message_bytes *b, const char *from, size_t len)
{
    size_t   size = b->size ? b->size : 1024;
    char    *bigger;

    while (size < b->len + len + 1) {
        size *= 2;
    }

    if (size > b->size) {
        bigger = OPENSSL_clear_realloc(b->bytes, b->size, size);
        if (bigger == NULL) {
            return false;
        }

        b->bytes = bigger;
        b->size = size;
    }

    memcpy(b->bytes + b->len, from, len);
    b->len += len;
    b->bytes[b->len] = '\0';

    return true;
}

static void
refuse(struct message *m, enum err code, const char *why)
{
    error_set(&m->err, code, "%s", why);
    m->state = MESSAGE_BAD;
}

/* RFC 9112 2.2: CR and LF come together, or not at all; a NUL never comes. */
static bool
byte_fits(struct message *m, char before, char c)
{
    if (c == '\0' || (c == '\n') != (before == '\r')) {
        refuse(m, ERR_MALFORMED, c == '\0' ? "RFC 9110 5.5: the head has a NUL"
               : "RFC 9112 2.2: a line must end with CR LF, and neither stands alone");
        return false;
    }

    return true;
}

static void
head_done(struct message *m)
{
    if (!message_parse_head(m)) {
        m->state = MESSAGE_BAD;
        return;
    }

    m->state = m->chunked ? MESSAGE_CHUNK_SIZE : m->left > 0 ? MESSAGE_BODY : MESSAGE_DONE;
}

/* RFC 9112 2.2: one empty line before a request is for clients that end a body
 * with one. */
static bool
head_is_empty_line(struct message *m)
{
    if (m->head.len != 2 || memcmp(m->head.bytes, "\r\n", 2) != 0) {
        return false;
    }

    if (m->empty_line) {
        refuse(m, ERR_MALFORMED, "RFC 9112 3: the request line is empty");
    }

    m->empty_line = true;
    m->head.len = 0;

    return true;
}

static size_t
feed_head(struct message *m, const char *bytes, size_t len)
{
    size_t  n = 0;

    while (n < len && m->state == MESSAGE_HEAD) {
        char  before = m->head.len ? m->head.bytes[m->head.len - 1] : '\0';

        if (!byte_fits(m, before, bytes[n])) {
            break;
        }

        if (m->head.len == MESSAGE_HEAD_MAX) {
            refuse(m, ERR_TOO_LARGE, "request line and headers have at most 16384 bytes");

        } else if (!bytes_add(&m->head, &bytes[n], 1)) {
            refuse(m, ERR_INTERNAL, "out of memory");

        } else if (bytes[n] == '\n' && !head_is_empty_line(m) && m->head.len >= 4
                   && memcmp(m->head.bytes + m->head.len - 4, "\r\n\r\n", 4) == 0)
        {
            head_done(m);
        }

        n++;
    }

    return n;
}

static size_t
feed_data(struct message *m, const char *bytes, size_t len)
{
    size_t  n = len < m->left ? len : m->left;

    if (m->body.len + n > MESSAGE_BODY_MAX) {
        refuse(m, ERR_TOO_LARGE, "a body has at most 1048576 bytes");
        return 0;
    }

    if (!bytes_add(&m->body, bytes, n)) {
        refuse(m, ERR_INTERNAL, "out of memory");
        return 0;
    }

    m->left -= n;

    if (m->left == 0) {
        m->state = m->chunked ? MESSAGE_CHUNK_END : MESSAGE_DONE;
        m->line_len = 0;
    }

    return n;
}

/* RFC 9112 7.1: hexadecimal digits alone; extensions are ignored. */
static void
line_chunk_size(struct message *m)
{
    size_t  digits = strspn(m->line, "0123456789abcdefABCDEF");
    char   *p = m->line + digits;

    if (digits == 0 || digits > HEX_MAX || (*p && *p != ';')) {
        refuse(m, ERR_MALFORMED, "RFC 9112 7.1: the size of a chunk must be 1 to 8 "
                                 "hexadecimal digits");
        return;
    }

    for ( ; *p; p++) {
        if (*p <= ' ' || *p >= 0x7f) {
            refuse(m, ERR_MALFORMED, "RFC 9112 7.1.1: a chunk extension has a blank or a "
                                     "character that is not visible");
            return;
        }
    }

    m->left = strtoul(m->line, NULL, 16);

    if (m->left > MESSAGE_BODY_MAX) {
        refuse(m, ERR_TOO_LARGE, "a body has at most 1048576 bytes");
        return;
    }

    m->state = m->left ? MESSAGE_CHUNK_DATA : MESSAGE_TRAILER;
}

/* Read and dropped, as RFC 9110 6.5.1 allows; but not what would mean something. */
static void
line_trailer(struct message *m)
{
    struct message_field  field;

    m->trailers += m->line_len + 2;

    if (m->line_len == 0) {
        m->state = MESSAGE_DONE;

    } else if (m->trailers > MESSAGE_TRAILER_MAX) {
        refuse(m, ERR_MALFORMED, "trailers have at most 4096 bytes");

    } else if (!message_parse_field(m->line, m->line_len, &field, &m->err)) {
        m->state = MESSAGE_BAD;

    } else if (message_is_single(field.name)) {
        refuse(m, ERR_MALFORMED, "RFC 9110 6.5.1: a trailer has the name of a header that "
                                 "stands before the body");
    }
}

static void
line_chunk_end(struct message *m)
{
    if (m->line_len == 0) {
        m->state = MESSAGE_CHUNK_SIZE;
    } else {
        refuse(m, ERR_MALFORMED, "RFC 9112 7.1: a chunk is longer than its size");
    }
}

/* Lines between the data of chunks. */
static size_t
feed_line(struct message *m, const char *bytes, size_t len)
{
    static void (*const  done[])(struct message *) = {
        [MESSAGE_CHUNK_SIZE] = line_chunk_size, [MESSAGE_CHUNK_END] = line_chunk_end,
        [MESSAGE_TRAILER] = line_trailer
    };
    enum message_state   state = m->state;

    for (size_t n = 0; n < len; n++) {
        if (!byte_fits(m, m->line_len ? m->line[m->line_len - 1] : '\0', bytes[n])) {
            return n;
        }

        if (bytes[n] == '\n') {
            m->line[--m->line_len] = '\0';
            done[state](m);
            m->line_len = 0;
            return n + 1;
        }

        if (m->line_len == MESSAGE_LINE_MAX - 1
            || (state == MESSAGE_CHUNK_END && bytes[n] != '\r'))
        {
            refuse(m, ERR_MALFORMED, state == MESSAGE_CHUNK_END
                   ? "RFC 9112 7.1: a chunk is longer than its size"
                   : "RFC 9112 7.1: a line between chunks has at most 510 bytes");
            return n;
        }

        m->line[m->line_len++] = bytes[n];
    }

    return len;
}

size_t
message_feed(struct message *m, const char *bytes, size_t len)
{
    static size_t (*const  feed[])(struct message *, const char *, size_t) = {
        [MESSAGE_HEAD] = feed_head, [MESSAGE_BODY] = feed_data,
        [MESSAGE_CHUNK_SIZE] = feed_line, [MESSAGE_CHUNK_DATA] = feed_data,
        [MESSAGE_CHUNK_END] = feed_line, [MESSAGE_TRAILER] = feed_line
    };
    size_t  n = 0;

    while (n < len && m->state < MESSAGE_DONE) {
        n += feed[m->state](m, bytes + n, len - n);
    }

    return n;
}

void
message_reset(struct message *m)
{
    bytes_free(&m->head);
    bytes_free(&m->body);
    OPENSSL_cleanse(m, sizeof(*m));
    *m = (struct message) { 0 };
}
