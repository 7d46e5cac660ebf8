/* OCSP responses as a server may staple them (RFC 6960, RFC 6066 section 8). */
#pragma once
#include <openssl/x509.h>
#include <stddef.h>
#include <time.h>

/* What a response without nextUpdate is good for, in seconds. */
#define CERTCTL_OCSP_DEFAULT_LIFE  (12 * 3600)

enum certctl_ocsp_status {
    CERTCTL_OCSP_GOOD, CERTCTL_OCSP_REVOKED, CERTCTL_OCSP_UNKNOWN
};

struct certctl_ocsp_info {
    enum certctl_ocsp_status  status;
    time_t                    this_update;
    time_t                    next_update;   /* this_update + default life when absent */
    time_t                    revoked_at;    /* 0 unless revoked */
    int                       reason;        /* -1 when absent */
    int                       answers;       /* for how many certificates, ours with them */
};

/*
 * Checks a DER response for cert, issued by issuer: successful, CertID fits,
 * signed by issuer or a delegate that may sign (id-kp-OCSPSigning, 4.2.2.2),
 * thisUpdate <= now + 300 s < nextUpdate. Fills ret and returns NULL when it can
 * be believed, whatever the status; else the rule that is broken.
 */
const char *certctl_ocsp_check(const unsigned char *der, size_t len, X509 *cert,
    X509 *issuer, time_t now, struct certctl_ocsp_info *ret);

/* NULL when ret of certctl_ocsp_check may be stapled at now: good, for this certificate
 * alone, and not past nextUpdate nor the certificate's notAfter. */
const char *certctl_ocsp_staple_check(const struct certctl_ocsp_info *info,
    X509 *cert, time_t now);

/*
 * Both checks, with the issuer found in chain (which may be NULL or hold cert,
 * too). What is refused may be believed all the same: then ret->answers is not 0.
 */
const char *certctl_ocsp_check_staple(const unsigned char *der, size_t len,
    X509 *cert, STACK_OF(X509) *chain, time_t now, struct certctl_ocsp_info *ret);

/* DER request for cert (SHA-1 CertID, no nonce: RFC 5019 2.1.1); OPENSSL_free. -1 on failure. */
int certctl_ocsp_request(X509 *cert, X509 *issuer, unsigned char **ret);
