/* Reads PEM text strictly, block by block (RFC 7468). */
#include "x509_pem.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#define BEGIN  "-----BEGIN "
#define END    "-----END "
#define DASHES "-----"


static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}


static bool
is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
           || (c >= '0' && c <= '9') || c == '+' || c == '/';
}


static bool
starts_with(const char *p, const char *end, const char *text)
{
    size_t  n = strlen(text);

    return (size_t) (end - p) >= n && memcmp(p, text, n) == 0;
}


/* Moves *pos behind "-----<word> label-----"; the label must fit. */
static bool
read_boundary(const char **pos, const char *end, const char *word,
    char label[32])
{
    const char  *p = *pos;
    size_t       n;

    if (!starts_with(p, end, word)) {
        return false;
    }

    p += strlen(word);

    for (n = 0; p + n < end && p[n] != '-'; n++) {
        if (n == 31 || p[n] < ' ' || p[n] > '~') {
            return false;
        }
    }

    if (!starts_with(p + n, end, DASHES)) {
        return false;
    }

    memcpy(label, p, n);
    label[n] = '\0';
    *pos = p + n + strlen(DASHES);

    return true;
}


/*
 * Copies base64 without white space; the number of characters, or -1. Headers of
 * the older format ("Proc-Type:", RFC 1421) fail here, as RFC 7468 wants.
 */
static int
squeeze(const char *p, const char *end, char *out)
{
    int  n = 0, pad = 0;

    for ( ; p < end; p++) {
        if (is_space(*p)) {
            continue;
        }

        if (*p == '=') {
            pad++;

        } else if (!is_base64(*p) || pad) {
            return -1;
        }

        out[n++] = *p;
    }

    return (n == 0 || n % 4 || pad > 2) ? -1 : n;
}


/*
 * EVP_DecodeBlock() and not EVP_DecodeUpdate(): the latter's context keeps a
 * copy of its input, which may be a key, and is freed without being wiped.
 */
static bool
decode(const char *p, const char *end, unsigned char **der, size_t *len)
{
    size_t          size = end - p + 1;
    char           *text = OPENSSL_malloc(size);
    unsigned char  *out = OPENSSL_malloc(size);
    int             n = -1;

    if (text != NULL && out != NULL) {
        n = squeeze(p, end, text);
    }

    if (n > 0 && EVP_DecodeBlock(out, (unsigned char *) text, n) > 0) {
        *len = (size_t) n / 4 * 3 - (text[n - 1] == '=') - (text[n - 2] == '=');
        *der = out;
        out = NULL;

    } else {
        n = -1;
    }

    OPENSSL_clear_free(text, size);
    OPENSSL_clear_free(out, size);

    return n > 0;
}


int
certctl_pem_next(const char **pos, const char *end, char label[32],
    unsigned char **der, size_t *len, const char **why)
{
    const char  *p = *pos, *body, *stop;
    char         last[32];

    while (p < end && is_space(*p)) {
        p++;
    }

    if (p == end) {
        *pos = p;
        return 0;
    }

    *why = "text outside of PEM blocks is not allowed (RFC 7468)";

    if (!read_boundary(&p, end, BEGIN, label)) {
        return -1;
    }

    body = p;
    *why = "a PEM block has no END line (RFC 7468)";

    stop = memchr(body, '-', end - body);
    if (stop == NULL) {
        return -1;
    }

    p = stop;

    if (!read_boundary(&p, end, END, last) || strcmp(label, last) != 0) {
        return -1;
    }

    *why = "a PEM block is not valid base64 (RFC 7468)";

    if (!decode(body, stop, der, len)) {
        return -1;
    }

    *pos = p;

    return 1;
}
