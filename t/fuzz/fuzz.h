/*
 * What the fuzzers share: certificates and keys that are the same in each run,
 * so that an input which depends on them keeps its meaning.
 */
#pragma once
#include "pki.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FUZZ_NOW    1800000000L        /* when inputs are looked at */
#define FUZZ_YEAR   (365 * DAY)

/* What must hold whatever the input: a finding, like a crash. */
#define FUZZ_MUST(test)                                                       \
    do {                                                                      \
        if (!(test)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #test);        \
            abort();                                                          \
        }                                                                     \
    } while (0)

/* NGINX logs what others leave in OpenSSL's queue as an error of its own. */
#define FUZZ_QUIET()  FUZZ_MUST(ERR_peek_error() == 0)

/* A P-256 key that protects nothing: its private number is n, 32 times. */
__attribute__((unused)) static EVP_PKEY *
fuzz_key(unsigned char n)
{
    static const unsigned char  head[] = { 0x30, 0x31, 2, 1, 1, 4, 32 };
    static const unsigned char  tail[] = { 0xa0, 0x0a, 6, 8, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 3, 1, 7 };
    unsigned char               der[sizeof(head) + 32 + sizeof(tail)];
    const unsigned char        *p = der;
    EVP_PKEY                   *key;

    memcpy(der, head, sizeof(head));
    memset(der + sizeof(head), n, 32);
    memcpy(der + sizeof(head) + 32, tail, sizeof(tail));

    key = d2i_AutoPrivateKey(NULL, &p, sizeof(der));
    FUZZ_MUST(key != NULL);

    return key;
}

/* Valid for ten years around FUZZ_NOW; an authority that signs OCSP, too. */
__attribute__((unused)) static const struct pki *
fuzz_ca(void)
{
    static struct pki  ca;

    if (ca.cert == NULL) {
        ca = PKI(NULL, .cn = "fuzz CA", .key = fuzz_key(1), .serial = 1,
                 .from = FUZZ_NOW - FUZZ_YEAR - time(NULL),
                 .to = FUZZ_NOW + 9 * FUZZ_YEAR - time(NULL),
                 .ext = { { NID_basic_constraints, "critical,CA:TRUE" },
                          { NID_key_usage, "critical,keyCertSign,cRLSign,"
                                           "digitalSignature" },
                          { NID_subject_key_identifier, "hash" } });
    }

    return &ca;
}

__attribute__((unused)) static const struct pki *
fuzz_leaf(void)
{
    static struct pki  leaf;

    if (leaf.cert == NULL) {
        leaf = PKI(fuzz_ca(), .cn = "fuzz", .sans = "DNS:fuzz.example",
                   .key = fuzz_key(2), .serial = 4096,
                   .from = FUZZ_NOW - FUZZ_YEAR - time(NULL),
                   .to = FUZZ_NOW + FUZZ_YEAR - time(NULL));
    }

    return &leaf;
}

/* The input as a string, and its end: what follows a NUL is another one. */
__attribute__((unused)) static char *
fuzz_text(const uint8_t *data, size_t len)
{
    char  *text = malloc(len + 1);

    FUZZ_MUST(text != NULL);
    memcpy(text, data, len);
    text[len] = '\0';

    return text;
}

/* Exactly len bytes, so that a byte read behind them is seen. */
__attribute__((unused)) static uint8_t *
fuzz_copy(const uint8_t *data, size_t len)
{
    uint8_t  *copy = malloc(len ? len : 1);

    FUZZ_MUST(copy != NULL);

    if (len) {
        memcpy(copy, data, len);
    }

    return copy;
}
