/* Sentences about a broken rule that name the place where it is broken. */
#pragma once
#include <openssl/x509.h>

#define CERTCTL_RULE_MAX  512

/*
 * The sentence of printf's format. It belongs to the calling thread and is
 * overwritten by the next call in it: copy what must last longer.
 */
const char *certctl_rule(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/*
 * rule about certificate at of a chain, the leaf being 0, with its subject:
 * "certificate 2 of the chain (CN=Sub CA): " and rule.
 */
const char *certctl_rule_of(int at, X509 *cert, const char *rule);
