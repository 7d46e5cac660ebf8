/*
 * The head of a request by RFC 9112 2 to 6 and RFC 9110 5 and 7, strictly: one
 * reading of each form, or 400.  docs/design/23-request-parsing.md says why.
 */
#include "rest_message.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ALNUM     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define TCHAR     ALNUM "!#$%&'*+-.^_`|~"         /* RFC 9110 5.6.2 */
#define URI_CHAR  ALNUM "-._~%!$&'()*+,;=:@/"     /* RFC 3986 3.3 */
#define BLANKS    " \t"

#define METHOD_MAX  20
#define LENGTH_MAX  18             /* digits, so that no number overflows */

/* Fields that are read here, or that say where a request goes. */
static const char *const  single[] = {
    "Host", "Content-Length", "Transfer-Encoding", "Authorization", "Content-Type",
    "Content-Encoding", "Expect", "Idempotency-Key", "If-Match", "If-None-Match", "TE",
    "Upgrade"
};

static bool
one_of(const char *word, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(word, list[i]) == 0) {
            return true;
        }
    }

    return false;
}

bool
message_is_single(const char *name)
{
    return one_of(name, single, sizeof(single) / sizeof(single[0]));
}

static bool
bad(struct error *err, const char *why)
{
    return error_set(err, ERR_MALFORMED, "%s", why);
}

bool
message_parse_field(char *line, size_t len, struct message_field *ret,
    struct error *err)
{
    char    *colon = memchr(line, ':', len), *value;
    size_t   name_len = strspn(line, TCHAR);

    if (line[0] == ' ' || line[0] == '\t') {
        return bad(err, "RFC 9112 5.2: a line of the head begins with a blank (line "
                        "folding is not accepted)");
    }

    if (colon == NULL || name_len == 0 || line + name_len != colon) {
        return bad(err, "RFC 9112 5: a line of the head is not \"name: value\", without "
                        "a blank before the colon");
    }

    line[len] = '\0';
    value = colon + 1;

    for (const char *p = value; p < line + len; p++) {
        if (((unsigned char) *p < ' ' && *p != '\t') || *p == 0x7f) {
            return bad(err, "RFC 9110 5.5: the value of a header has a control character");
        }
    }

    *colon = '\0';
    value += strspn(value, BLANKS);

    for (size_t n = strlen(value); n > 0 && strchr(BLANKS, value[n - 1]); n--) {
        value[n - 1] = '\0';
    }

    *ret = (struct message_field) { line, value };

    return true;
}

const char *
message_field(const struct message *message, const char *name)
{
    for (size_t i = 0; i < message->n; i++) {
        if (strcasecmp(message->fields[i].name, name) == 0) {
            return message->fields[i].value;
        }
    }

    return NULL;
}

/* RFC 9110 7.2: host[:port], with at least a host. */
static bool
is_authority(const char *text, size_t len)
{
    size_t  host = *text == '[' ? strcspn(text, "]") + 1 : strspn(text, ALNUM "-._~");
    size_t  inside = strspn(text + (*text == '['), "0123456789abcdefABCDEF:.");

    if (host == 0 || host > len || (*text == '[' && (inside == 0 || inside + 2 != host))) {
        return false;
    }

    return host == len
           || (text[host] == ':' && len - host <= 6
               && strspn(text + host + 1, "0123456789") >= len - host - 1);
}

/*
 * RFC 9112 3.2.2: "https://host/path" is what a proxy is sent; here the path of
 * it is meant when its host is that of the field Host, too.
 */
static bool
absolute_form(struct message *m, char *target, char **ret_path)
{
    static const char *const  schemes[] = { "http://", "https://" };
    const char               *host = message_field(m, "Host");
    size_t                    len;

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        len = strlen(schemes[i]);

        if (strncasecmp(target, schemes[i], len) == 0) {
            target += len;
            len = strcspn(target, "/?");

            if (host == NULL || strlen(host) != len || strncasecmp(host, target, len) != 0) {
                return bad(&m->err, "RFC 9112 3.2.2: the host of the request line differs "
                                    "from the header Host");
            }

            *ret_path = target + len;

            return **ret_path == '/'
                   || bad(&m->err, "RFC 9112 3.2.2: the URL in the request line has no path");
        }
    }

    return bad(&m->err, "RFC 9112 3.2: the request line must name a path that begins with "
                        "\"/\"");
}

static bool
parse_target(struct message *m, char *target)
{
    char  *question;

    if (strcmp(target, "*") == 0 && strcmp(m->method, "OPTIONS") == 0) {
        m->path = target;
        return true;
    }

    if (*target != '/' && !absolute_form(m, target, &target)) {
        return false;
    }

    question = strchr(target, '?');
    if (question) {
        *question++ = '\0';
    }

    if (target[strspn(target, URI_CHAR)]
        || (question && question[strspn(question, URI_CHAR "?")]))
    {
        return bad(&m->err, "RFC 3986 2: the request line has a character that must be "
                            "percent-encoded");
    }

    m->path = target;
    m->query = question;

    return true;
}

/* RFC 9112 3: exactly one space between three words. */
static bool
split_request_line(struct message *m, char *line, size_t len, char **ret_target)
{
    char  *target = memchr(line, ' ', len), *version = NULL;

    if (target) {
        *target++ = '\0';
        version = memchr(target, ' ', len - (target - line));
    }

    if (version == NULL || *line == '\0' || strlen(line) > METHOD_MAX
        || line[strspn(line, TCHAR)] || version == target)
    {
        return bad(&m->err, "RFC 9112 3: the request line must be \"METHOD /path HTTP/1.1\" "
                            "with one space between its parts");
    }

    *version++ = '\0';
    line[len] = '\0';

    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0) {
        return bad(&m->err, "RFC 9112 2.3: the request line must end with HTTP/1.1 or HTTP/1.0");
    }

    m->minor = version[7] - '0';
    m->method = line;
    *ret_target = target;

    return true;
}

static bool
take_field(struct message *m, char *line, size_t len)
{
    struct message_field  field;

    if (m->n == MESSAGE_FIELDS_MAX) {
        return error_set(&m->err, ERR_MALFORMED, "a request has at most %d headers",
                         MESSAGE_FIELDS_MAX);
    }

    if (!message_parse_field(line, len, &field, &m->err)) {
        return false;
    }

    if (message_is_single(field.name) && message_field(m, field.name)) {
        return error_set(&m->err, ERR_MALFORMED, "RFC 9110 5.3: the header %.30s is given "
                         "twice", field.name);
    }

    m->fields[m->n++] = field;

    return true;
}

/* RFC 9112 3.2: one host, a real one. */
static bool
check_host(struct message *m)
{
    const char  *host = message_field(m, "Host");

    if (host == NULL) {
        return m->minor == 0 || bad(&m->err, "RFC 9112 3.2: the header Host is missing");
    }

    return is_authority(host, strlen(host))
           || bad(&m->err, "RFC 9112 3.2: the header Host is not \"host\" or \"host:port\"");
}

/* RFC 9112 9.3, 9.6: a list of options; one that names a header of ours would have
 * a proxy take that out. */
static bool
read_connection(struct message *m)
{
    bool   keep = false;
    char   word[64];
    size_t len;

    m->close = m->minor == 0;

    for (size_t i = 0; i < m->n; i++) {
        if (strcasecmp(m->fields[i].name, "Connection") != 0) {
            continue;
        }

        for (const char *p = m->fields[i].value; *p; p += len) {
            p += strspn(p, BLANKS ",");
            len = strcspn(p, BLANKS ",");
            snprintf(word, sizeof(word), "%.*s", (int) (len < 60 ? len : 60), p);
            m->close = m->close || strcasecmp(word, "close") == 0;
            keep = keep || strcasecmp(word, "keep-alive") == 0;

            if (message_is_single(word) && strcasecmp(word, "TE") != 0
                && strcasecmp(word, "Upgrade") != 0)
            {
                return error_set(&m->err, ERR_MALFORMED, "RFC 9110 7.6.1: the header "
                                 "Connection names %.30s", word);
            }
        }
    }

    m->close = m->close && !(m->minor == 0 && keep);

    return true;
}

/* RFC 9112 6: one statement about the length, or none. */
static bool
read_length(struct message *m)
{
    const char  *length = message_field(m, "Content-Length");
    const char  *coding = message_field(m, "Transfer-Encoding");
    size_t       digits = length ? strspn(length, "0123456789") : 0;

    if (coding && (length || m->minor == 0)) {
        return bad(&m->err, length
                   ? "RFC 9112 6.3: Transfer-Encoding and Content-Length exclude each other"
                   : "RFC 9112 6.1: HTTP/1.0 has no Transfer-Encoding");
    }

    if (coding && strcasecmp(coding, "chunked") != 0) {
        return bad(&m->err, "RFC 9112 6.1: Transfer-Encoding must be \"chunked\"");
    }

    if (length && (digits == 0 || digits > LENGTH_MAX || length[digits])) {
        return error_set(&m->err, ERR_MALFORMED, "RFC 9110 8.6: Content-Length must be 1 to "
                         "%d digits", LENGTH_MAX);
    }

    m->chunked = coding != NULL;
    m->left = 0;

    for (size_t i = 0; i < digits; i++) {
        m->left = m->left * 10 + (size_t) (length[i] - '0');
    }

    return m->left <= MESSAGE_BODY_MAX
           || error_set(&m->err, ERR_TOO_LARGE, "a body has at most %d bytes", MESSAGE_BODY_MAX);
}

static bool
read_expect(struct message *m)
{
    const char  *expect = message_field(m, "Expect");

    if (expect && strcasecmp(expect, "100-continue") != 0) {
        return bad(&m->err, "RFC 9110 10.1.1: Expect must be 100-continue");
    }

    m->expects = expect && m->minor == 1 && (m->chunked || m->left > 0);

    return true;
}

bool
message_parse_head(struct message *m)
{
    char    *line = m->head.bytes, *end = line + m->head.len - 2, *next;
    char    *target = NULL;

    next = memmem(line, m->head.len, "\r\n", 2);

    if (!split_request_line(m, line, (size_t) (next - line), &target)) {
        return false;
    }

    for (line = next + 2; line < end; line = next + 2) {
        next = memmem(line, (size_t) (end + 2 - line), "\r\n", 2);

        if (!take_field(m, line, (size_t) (next - line))) {
            return false;
        }
    }

    return parse_target(m, target) && check_host(m) && read_connection(m) && read_length(m)
           && read_expect(m);
}
