/* What a certificate is known by when it is stored, without OpenSSL's object of it. */
#pragma once
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct certctl_leaf {
    unsigned char   digest[32];     /* SHA-256 of the certificate */
    unsigned char   spki[32];       /* SHA-256 of its SubjectPublicKeyInfo */
    bool            rsa;
    time_t          not_after;
    GENERAL_NAMES  *names;          /* subjectAltName; NULL: none that is good */
};

/*
 * Reads the first certificate at der, whatever stands behind it, and judges
 * nothing. NULL, or the rule that is broken; certctl_leaf_free() what is filled.
 */
const char *certctl_leaf_read(const unsigned char *der, size_t len,
    struct certctl_leaf *ret);

const char *certctl_leaf_of(X509 *cert, struct certctl_leaf *ret);

/* As it is when there is nothing in it. */
void certctl_leaf_free(struct certctl_leaf *leaf);
