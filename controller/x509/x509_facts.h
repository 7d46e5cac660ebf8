/* The few facts that a report on thousands of certificates needs, without OpenSSL's objects. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct certctl_x509_facts {
    size_t  len;                /* of the certificate: what is hashed for its fingerprint */
    time_t  not_before;
    time_t  not_after;
    bool    must_staple;        /* RFC 7633 TLS feature 5 */
    bool    ocsp;               /* names a responder (RFC 5280 4.2.2.1) */
};

/*
 * Reads the DER certificate at der. False for all that is not strict DER of the
 * usual shape: OpenSSL may still accept it, and is to be asked then. What is read
 * is what certctl_x509_info() and certctl_x509_ocsp_url() say.
 */
bool certctl_x509_facts(const unsigned char *der, size_t len, struct certctl_x509_facts *ret);

/* The same, and OpenSSL is asked where it says false. NULL, or the rule that is broken. */
const char *certctl_x509_facts_read(const unsigned char *der, size_t len,
    struct certctl_x509_facts *ret);

/* thisUpdate of the first certificate in a DER OCSP response; 0 when it is not found. */
time_t certctl_ocsp_this_update(const unsigned char *der, size_t len);
