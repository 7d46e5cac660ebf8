/* What the tests of the CA share: an authority and a certificate in one line. */
#pragma once
#include "ca.h"
#include "x509_key.h"

#define DAY   86400L
#define NOW   1900000000L              /* 2030-03-17, a Sunday */

__attribute__((unused)) static struct ca *
test_root(const char *type, struct error *err)
{
    return ca_create(NULL, &(struct ca_spec) {
        .key_type = type, .common_name = "Test Root", .not_before = NOW - DAY,
        .not_after = NOW + 3650 * DAY, .path_len = CA_PATH_LEN_ANY,
        .signs_ocsp = true }, err);
}

/* A plain server certificate for sans with a new P-256 key. */
__attribute__((unused)) static X509 *
test_leaf(const struct ca *ca, const char *serial, const char *sans,
    struct error *err)
{
    CLEANUP(pkey) EVP_PKEY  *key = certctl_key_generate("ec-p256");

    return ca_issue(ca, key, &(struct ca_profile) {
        .serial = serial, .sans = sans, .not_before = NOW,
        .not_after = NOW + 90 * DAY, .eku = CA_EKU_SERVER_AUTH }, err);
}
