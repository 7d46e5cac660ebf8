/* Reads PEM text line by line and block by block (RFC 7468). */
#include "x509_pem.h"
#include "x509_rule.h"
#include <openssl/crypto.h>
#include <stdint.h>
#include <string.h>

#define BEGIN      "-----BEGIN"
#define END        "-----END"
#define DASHES     "-----"
#define BOM        "\xef\xbb\xbf"
#define ENCRYPTED  "ENCRYPTED"

#define PRIVATE_KEY  "PRIVATE KEY"

/* Without the white space at both ends. */
struct line {
    const char  *p;
    const char  *end;
};

/* Base64 on its way into DER. */
struct decoder {
    uint32_t        bits;
    int             count;          /* of characters in bits, and padding */
    int             padding;
    unsigned char  *out;
};


static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\v' || c == '\f';
}


static bool
starts_with(const struct line *line, const char *text)
{
    size_t  n = strlen(text);

    return (size_t) (line->end - line->p) >= n && memcmp(line->p, text, n) == 0;
}


static const char *
find(const char *p, const char *end, const char *text)
{
    size_t  n = strlen(text);

    for ( ; (size_t) (end - p) >= n; p++) {
        p = memchr(p, text[0], end - p - n + 1);

        if (p == NULL || memcmp(p, text, n) == 0) {
            return p;
        }
    }

    return NULL;
}


/* A line ends with LF, CR LF or CR (RFC 7468 section 3). */
static bool
next_line(struct certctl_pem *pem, struct line *ret)
{
    const char  *p = pem->pos;

    if (p == pem->end) {
        return false;
    }

    while (p < pem->end && *p != '\n' && *p != '\r') {
        p++;
    }

    *ret = (struct line) { pem->pos, p };

    p += p < pem->end;
    p += p < pem->end && p[-1] == '\r' && *p == '\n';

    pem->pos = p;
    pem->line++;

    while (ret->p < ret->end && is_blank(*ret->p)) {
        ret->p++;
    }

    while (ret->p < ret->end && is_blank(ret->end[-1])) {
        ret->end--;
    }

    return true;
}


/* The label of "-----BEGIN label-----"; word is "-----BEGIN". */
static bool
read_label(const struct line *line, const char *word,
    char label[CERTCTL_PEM_LABEL])
{
    size_t       i, n;
    const char  *p = line->p + strlen(word) + 1, *end;

    end = line->end - strlen(DASHES);

    if (p > end || p[-1] != ' ' || memcmp(end, DASHES, strlen(DASHES)) != 0
        || (size_t) (end - p) >= CERTCTL_PEM_LABEL)
    {
        return false;
    }

    n = end - p;

    for (i = 0; i < n; i++) {
        if (p[i] < ' ' || p[i] > '~') {
            return false;
        }
    }

    memcpy(label, p, n);
    label[n] = '\0';

    return true;
}


static int
base64_value(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' ? 62
           : c == '/' ? 63
           : -1;
}


/* OpenSSL's decoder would keep a copy of its input, which may be a key. */
static bool
decode(struct decoder *d, const struct line *line)
{
    int          value;
    const char  *p;

    for (p = line->p; p < line->end; p++) {
        if (is_blank(*p)) {
            continue;
        }

        value = base64_value(*p);

        if (*p == '=' && d->count >= 2) {
            d->padding++;
            value = 0;

        } else if (value < 0 || d->padding) {
            return false;
        }

        d->bits = d->bits << 6 | value;

        if (++d->count == 4) {
            *d->out++ = d->bits >> 16;
            *d->out++ = d->bits >> 8;
            *d->out++ = d->bits;
            d->out -= d->padding;
            d->count = 0;
        }
    }

    return true;
}


bool
certctl_pem_is_key(const struct certctl_pem_block *block)
{
    size_t  n = strlen(block->label), tail = strlen(PRIVATE_KEY);

    return n >= tail && strcmp(block->label + n - tail, PRIVATE_KEY) == 0;
}


/*
 * The header of a key that is encrypted in the older format (RFC 1421 4.6.1.1):
 * passed over to the empty line behind it.
 */
static bool
read_header(struct certctl_pem *pem, struct line *line)
{
    if (!starts_with(line, "Proc-Type:")
        || find(line->p, line->end, ENCRYPTED) == NULL)
    {
        return false;
    }

    while (line->p < line->end && find(line->p, line->end, DASHES) == NULL) {
        if (!next_line(pem, line)) {
            line->p = line->end;
        }
    }

    return true;
}


/* At the END line, last being the last line of base64; NULL or the rule. */
static const char *
check_end(const struct certctl_pem_block *block, const struct decoder *d,
    const struct line *line, int at, int last)
{
    char  label[CERTCTL_PEM_LABEL];

    if (!read_label(line, END, label) || strcmp(label, block->label) != 0) {
        return certctl_rule("line %d must be -----END %s----- (RFC 7468)", at,
                            block->label);
    }

    return d->count || d->out == block->der
           ? certctl_rule("line %d: the base64 text is not complete"
                          " (RFC 4648 section 4)", last)
           : NULL;
}


/* The lines up to END, which block's DER is made of; NULL or the rule. */
static const char *
read_body(struct certctl_pem *pem, struct certctl_pem_block *block,
    struct decoder *d)
{
    int          last = pem->line;
    bool         first = true;
    struct line  line;

    while (next_line(pem, &line)) {
        if (first && line.p < line.end) {
            block->encrypted = certctl_pem_is_key(block)
                               && read_header(pem, &line);
            first = false;
        }

        if (starts_with(&line, END)) {
            return check_end(block, d, &line, pem->line, last);
        }

        if (starts_with(&line, BEGIN)) {
            return certctl_rule("line %d begins another block before"
                                " -----END %s----- (RFC 7468)", pem->line,
                                block->label);
        }

        if (!decode(d, &line)) {
            return certctl_rule("line %d is not base64 (RFC 4648 section 4)",
                                pem->line);
        }

        last = line.p < line.end ? pem->line : last;
    }

    return certctl_rule("line %d begins it, and no -----END %s----- follows"
                        " (RFC 7468)", block->line, block->label);
}


static const char *
read_block(struct certctl_pem *pem, struct certctl_pem_block *block)
{
    size_t           size;
    const char      *why, *stop = find(pem->pos, pem->end, DASHES);
    struct decoder   d = { 0 };

    /* no dash is base64: what is decoded ends before the first of them */

    size = ((stop ? stop : pem->end) - pem->pos) / 4 * 3 + 3;
    block->der = OPENSSL_malloc(size);

    if (block->der == NULL) {
        return "OPENSSL_malloc() failed";
    }

    d.out = block->der;
    why = read_body(pem, block, &d);
    block->len = d.out - block->der;

    /* what was allocated may hold more of a key than its length tells */

    if (why != NULL) {
        OPENSSL_cleanse(block->der, size);
    }

    OPENSSL_cleanse(&d, sizeof(d));

    return why;
}


/* Finds a BEGIN line: 1, 0 at the end, -1 with the rule. */
static int
find_block(struct certctl_pem *pem, struct certctl_pem_block *block,
    const char **why)
{
    struct line  line;

    while (next_line(pem, &line)) {
        /* one for each file that was put behind another */

        if (starts_with(&line, BOM)) {
            line.p += strlen(BOM);
        }

        if (memchr(line.p, '\0', line.end - line.p)) {
            *why = certctl_rule("line %d holds a NUL byte, which no PEM text "
                                "does (RFC 7468)", pem->line);
            return -1;
        }

        if (starts_with(&line, END)) {
            *why = certctl_rule("line %d ends a PEM block that no line begins "
                                "(RFC 7468)", pem->line);
            return -1;
        }

        if (starts_with(&line, BEGIN)) {
            block->number = ++pem->blocks;
            block->line = pem->line;

            if (read_label(&line, BEGIN, block->label)) {
                return 1;
            }

            *why = certctl_rule("line %d is not a line -----BEGIN label----- "
                                "(RFC 7468)", pem->line);
            return -1;
        }
    }

    return 0;
}


void
certctl_pem_open(struct certctl_pem *pem, const char *text, size_t len)
{
    *pem = (struct certctl_pem) { text, text + len, 0, 0 };
}


int
certctl_pem_next(struct certctl_pem *pem, struct certctl_pem_block *block,
    const char **why)
{
    int                 rc;
    struct certctl_pem  behind;

    *block = (struct certctl_pem_block) { .number = 0 };

    rc = find_block(pem, block, why);

    if (rc != 1) {
        return rc;
    }

    behind = *pem;
    *why = read_block(pem, block);

    if (*why != NULL) {
        *why = certctl_rule("PEM block %d (%s): %s", block->number,
                            block->label, *why);
        *pem = behind;
        certctl_pem_free(block);
        return -1;
    }

    block->encrypted |= strncmp(block->label, ENCRYPTED, strlen(ENCRYPTED)) == 0;

    return 1;
}


void
certctl_pem_free(struct certctl_pem_block *block)
{
    OPENSSL_clear_free(block->der, block->len);
    block->der = NULL;
    block->len = 0;
}


const char *
certctl_pem_rule(const struct certctl_pem_block *block, const char *rule)
{
    return certctl_rule("PEM block %d (%s), line %d: %s", block->number,
                        block->label, block->line, rule);
}


static bool
is_same(const struct certctl_pem_block *a, const struct certctl_pem_block *b)
{
    return strcmp(a->label, b->label) == 0 && a->len == b->len
           && memcmp(a->der, b->der, a->len) == 0;
}


/* Takes block into its only place; the same key again is no other. */
static const char *
keep_one(struct certctl_pem_block *place, struct certctl_pem_block *block,
    const char *rule)
{
    if (place->der != NULL) {
        return certctl_pem_is_key(block) && is_same(place, block)
               ? NULL : certctl_pem_rule(block, rule);
    }

    *place = *block;
    block->der = NULL;

    return NULL;
}


static const char *
keep(struct certctl_pem_bundle *bundle, struct certctl_pem_block *block)
{
    const char  *label = block->label;

    if (strcmp(label, "CERTIFICATE") == 0
        || strcmp(label, "X509 CERTIFICATE") == 0)
    {
        if (bundle->count == CERTCTL_CHAIN_DEPTH) {
            return certctl_pem_rule(block, "a chain may hold at most 10 "
                                    "certificates");
        }

        bundle->certs[bundle->count++] = *block;
        block->der = NULL;

        return NULL;
    }

    if (certctl_pem_is_key(block)) {
        return keep_one(&bundle->key, block, "a second private key; one is "
                        "expected");
    }

    if (strcmp(label, "OCSP RESPONSE") == 0) {
        return keep_one(&bundle->staple, block, "there is more than one OCSP "
                        "response for one certificate");
    }

    /* a key names its curve itself (RFC 5915), and DH is the server's */

    return strcmp(label, "EC PARAMETERS") == 0
           || strcmp(label, "DH PARAMETERS") == 0
           ? NULL
           : certctl_pem_rule(block, "only blocks CERTIFICATE, PRIVATE KEY and "
                              "OCSP RESPONSE are allowed");
}


const char *
certctl_pem_bundle(const char *text, size_t len, struct certctl_pem_bundle *ret)
{
    int                       rc;
    const char               *why = NULL;
    struct certctl_pem        pem;
    struct certctl_pem_block  block;

    memset(ret, 0, sizeof(*ret));
    certctl_pem_open(&pem, text, len);

    if (len > CERTCTL_CHAIN_MAX) {
        return "the PEM text is longer than 65536 bytes";
    }

    while (why == NULL && (rc = certctl_pem_next(&pem, &block, &why)) != 0) {
        why = rc == 1 ? keep(ret, &block) : why;
        certctl_pem_free(&block);
    }

    return why;
}


void
certctl_pem_bundle_free(struct certctl_pem_bundle *bundle)
{
    while (bundle->count > 0) {
        certctl_pem_free(&bundle->certs[--bundle->count]);
    }

    certctl_pem_free(&bundle->key);
    certctl_pem_free(&bundle->staple);
}
