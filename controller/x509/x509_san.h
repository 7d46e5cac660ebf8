/* subjectAltName as text and back, for this room (RFC 5280 4.2.1.6). */
#pragma once
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stddef.h>

#define CERTCTL_SAN_TEXT  1025     /* the longest name we keep, and its NUL */

/*
 * Kind and text of a name; false for one that has no safe text: another kind,
 * control characters or bytes above ASCII, an address of odd length, too long.
 */
bool certctl_san_text(const GENERAL_NAME *gn, const char **kind,
    char text[CERTCTL_SAN_TEXT]);

/*
 * The names of "DNS:a,IP:192.0.2.1,URI:urn:x"; NULL with the rule in *why. Free
 * with GENERAL_NAMES_free.
 */
GENERAL_NAMES *certctl_sans_parse(const char *sans, const char **why);

/* The other way, in the order given; NULL with the rule in *why, OPENSSL_free it. */
char *certctl_sans_print(const GENERAL_NAMES *names, const char **why);

/* Whether both are the same name: letter case matters in URIs alone. */
bool certctl_san_equal(const GENERAL_NAME *a, const GENERAL_NAME *b);
