/*
 * PEM (RFC 7468) as people have it: text around the blocks, a byte order mark and
 * white space are passed over; what can be read in two ways is refused.
 */
#pragma once
#include "wire.h"
#include <stdbool.h>
#include <stddef.h>

#define CERTCTL_PEM_LABEL  64

struct certctl_pem {
    const char  *pos;           /* of the next line */
    const char  *end;
    int          line;          /* number of lines before pos */
    int          blocks;        /* number of blocks that have begun before it */
};

struct certctl_pem_block {
    char            label[CERTCTL_PEM_LABEL];
    int             number;     /* of all blocks of the text, the first is 1 */
    int             line;       /* of its BEGIN, the first is 1 */
    bool            encrypted;  /* a private key of either form */
    unsigned char  *der;
    size_t          len;
};

void certctl_pem_open(struct certctl_pem *pem, const char *text, size_t len);

/*
 * The next block. Returns 1; 0 when there is no other; -1 with the rule in *why,
 * which names block and line. After -1 label is that of the broken block, or "";
 * the next call goes on behind its BEGIN line.
 */
int certctl_pem_next(struct certctl_pem *pem, struct certctl_pem_block *block,
    const char **why);

/* Wipes the DER, as it may be a key. */
void certctl_pem_free(struct certctl_pem_block *block);

/* Of PKCS#8 or of an older format, encrypted or not. */
bool certctl_pem_is_key(const struct certctl_pem_block *block);

/* "PEM block 2 (PRIVATE KEY), line 31: " and rule. */
const char *certctl_pem_rule(const struct certctl_pem_block *block,
    const char *rule);

/* A certificate with what may stand beside it in one text, in any order. */
struct certctl_pem_bundle {
    struct certctl_pem_block  certs[CERTCTL_CHAIN_DEPTH];
    int                       count;
    struct certctl_pem_block  key;         /* der is NULL: there is none */
    struct certctl_pem_block  staple;      /* label "OCSP RESPONSE" */
};

/*
 * NULL, or the rule that is broken. Parameters (EC, DH) are passed over; the same
 * key twice is one key. In both cases certctl_pem_bundle_free() it.
 */
const char *certctl_pem_bundle(const char *text, size_t len,
    struct certctl_pem_bundle *ret);
void certctl_pem_bundle_free(struct certctl_pem_bundle *bundle);
