/*
 * A certification authority in this process: certificates (RFC 5280), CRLs
 * (RFC 5280 section 5) and OCSP responses (RFC 6960).  It keeps no state: what
 * was issued and revoked is for the caller to remember.
 */
#pragma once
#include "error.h"
#include "ossl.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define CA_SERIAL_HEX    41        /* 20 octets in hex (RFC 5280 4.1.2.2), NUL */
#define CA_PATH_LEN_ANY  -1        /* no pathLenConstraint (4.2.1.9) */

struct ca {
    X509            *cert;
    EVP_PKEY        *key;
    STACK_OF(X509)  *above;        /* issuers of cert, nearest first; may be empty */
    X509            *responder;    /* delegated OCSP signer (RFC 6960 4.2.2.2), or NULL */
    EVP_PKEY        *responder_key;
};

void ca_free(struct ca *ca);
CLEANUP_FUNC(ca, struct ca *, ca_free)

/*
 * A serial number that was never used: 158 random bits behind a set one, so
 * that each has 20 octets and 40 lower-case hex digits.
 */
bool ca_serial_new(char out[CA_SERIAL_HEX], struct error *err);

/* The same form for a serial that a person has typed; ERR_INVALID names the rule. */
bool ca_serial_read(const char *hex, char out[CA_SERIAL_HEX], struct error *err);

/* ca_create.c: a new authority and its key. */

struct ca_spec {
    const char  *key_type;         /* wire.h's text; NULL: ec-p256 */
    const char  *common_name;      /* of the subject, 1 to 64 characters */
    time_t       not_before;
    time_t       not_after;        /* cut to the parent's */
    int          path_len;         /* or CA_PATH_LEN_ANY */
    bool         signs_ocsp;       /* keyUsage gains digitalSignature, so that it
                                      may answer OCSP without a delegate */
    const char  *ocsp_url;         /* of the parent; NULL or "": left out, which is */
    const char  *crl_url;          /* how a root has it */
    const char  *ca_issuers_url;
};

/* A root when parent is NULL; else an authority below parent. */
struct ca *ca_create(const struct ca *parent, const struct ca_spec *spec,
    struct error *err);

/*
 * From PEM: the authority's certificate first, then those above it, and its
 * unencrypted key (PKCS#8 or traditional); what else is in either text is passed
 * over.  Refused with the rule: a key of another certificate or a weak one, no cA,
 * a keyUsage without keyCertSign, no subjectKeyIdentifier, expired or not yet
 * valid at now, a chain that does not fit.
 */
struct ca *ca_load(const char *cert_pem, const char *key_pem, time_t now,
    struct error *err);

/* The two halves of it, for who wants to say which of two files is wrong. */
struct ca *ca_load_certs(const char *pem, time_t now, struct error *err);
bool ca_load_key(struct ca *ca, const char *pem, struct error *err);

/* From when to when ca and all authorities above it are valid. */
bool ca_validity(const struct ca *ca, time_t *not_before, time_t *not_after,
    struct error *err);

/* ca_renew.c: the same root for longer. */

/* The middle of the validity of a PEM text's first certificate. */
bool ca_half_life(const char *cert_pem, time_t *ret, struct error *err);

/*
 * Another certificate for a root's key and name: what it has signed, and who
 * trusts either of the two, stays as it was.
 */
bool ca_root_renew(struct ca *root, time_t not_before, time_t not_after,
    struct error *err);

/* The certificate and those above it, in ca_load's form; free() it. */
char *ca_cert_pem(const struct ca *ca, struct error *err);

/* The key as PKCS#8 PEM, a secret: seal_wipe() it. */
char *ca_key_pem(const struct ca *ca, struct error *err);

/* The same for one certificate and for a key that is no authority's. */
char *ca_x509_pem(X509 *cert, struct error *err);
char *ca_pkey_pem(EVP_PKEY *key, struct error *err);

/* What a client is served: leaf, the authority and those above it without the
 * root, unless the root itself has issued leaf.  free() it. */
char *ca_chain_pem(const struct ca *ca, X509 *leaf, struct error *err);

/* ca_certificate.c: end entities. */

enum ca_eku {
    CA_EKU_SERVER_AUTH  = 1,
    CA_EKU_CLIENT_AUTH  = 2,
    CA_EKU_OCSP_SIGNING = 4        /* adds id-pkix-ocsp-nocheck (RFC 6960 4.2.2.2.1) */
};

struct ca_profile {
    const char  *serial;           /* hex, drawn and stored before */
    const char  *sans;             /* "DNS:a,IP:192.0.2.1,URI:urn:x"; NULL: none */
    const char  *common_name;      /* NULL: empty subject and critical SAN (4.1.2.6) */
    time_t       not_before;       /* both are cut to the validities of all above: a */
    time_t       not_after;        /* chain is good for as long as all of it is */
    int          eku;              /* enum ca_eku, or 0 */
    bool         must_staple;      /* TLS feature status_request (RFC 7633) */
    const char  *ocsp_url;         /* NULL or "": left out */
    const char  *ca_issuers_url;
    const char  *crl_url;
};

/*
 * A certificate for key, named by the profile alone.  The same profile gives the same
 * certificate but for the signature.  ERR_INVALID names the rule: a weak key, a
 * bad name, a validity outside the authority's, names outside its
 * nameConstraints (4.2.1.10).
 */
X509 *ca_issue(const struct ca *ca, EVP_PKEY *key, const struct ca_profile *profile,
    struct error *err);

/* ca_crl.c */

struct ca_revoked {
    const char  *serial;           /* hex */
    time_t       revoked_at;
    int          reason;           /* RFC 5280 5.3.1; 0 (unspecified) is left out */
};

struct ca_crl_spec {
    int64_t                   number;      /* crlNumber: grows with each CRL (5.2.3) */
    time_t                    this_update;
    time_t                    next_update;
    const struct ca_revoked  *revoked;
    size_t                    nrevoked;
};

/* A complete CRL as DER; OPENSSL_free() it. */
bool ca_crl(const struct ca *ca, const struct ca_crl_spec *spec,
    unsigned char **ret, size_t *ret_len, struct error *err);

/* Whether a revocation may carry reason: 7 is unused, 8 is for delta CRLs. */
bool ca_reason_known(int reason);

/* ca_responder.c: the delegated OCSP signer of an authority. */

/* A new key and certificate, good for life seconds from now. */
bool ca_responder_create(struct ca *ca, const char *serial, time_t now, int life,
    struct error *err);

/* From PEM.  Refused unless ca has issued it for OCSP signing; one that has
 * expired is refused as well. */
bool ca_responder_load(struct ca *ca, const char *cert_pem, const char *key_pem,
    time_t now, struct error *err);

/* ca_ocsp.c */

#define CA_OCSP_REQUEST_MAX  16384     /* octets of a request */
#define CA_OCSP_SINGLES_MAX  20        /* certificates asked for in one */
#define CA_OCSP_SKEW         300       /* thisUpdate lies so far in the past, for
                                          clients whose clock is slow */

enum ca_ocsp_state { CA_OCSP_GOOD, CA_OCSP_REVOKED, CA_OCSP_UNKNOWN };

struct ca_ocsp_status {
    enum ca_ocsp_state  state;
    time_t              revoked_at;
    int                 reason;
};

/* What ca knows of a serial (hex); false with err: "tryLater" is answered for
 * ERR_UNAVAILABLE, else "internalError". */
typedef bool ca_ocsp_lookup_fn(const struct ca *ca, const char *serial,
    struct ca_ocsp_status *ret, void *data, struct error *err);

struct ca_ocsp_answer {
    unsigned char  *der;               /* OPENSSL_free() it */
    size_t          len;
    int             status;            /* OCSPResponseStatus (RFC 6960 4.2.1) */
    bool            nonce;             /* it is for this request only */
    time_t          this_update;       /* the soonest of all singles; 0 unless */
    time_t          next_update;       /* status is successful */
};

/*
 * Answers a DER request about certificates of cas (NULL ends them) as of now,
 * with a nextUpdate life seconds away, or when the signer expires.  A request
 * that breaks a rule is answered as well: malformedRequest, or unauthorized
 * when no CertID names one of cas.  False only when not even that can be made.
 * *err tells why status is tryLater or internalError.
 */
bool ca_ocsp_answer(const struct ca *const *cas, const unsigned char *der,
    size_t len, time_t now, int life, ca_ocsp_lookup_fn *lookup, void *data,
    struct ca_ocsp_answer *ret, struct error *err);

/* A response without a request, for stapling and the plain GET form. */
bool ca_ocsp_for(const struct ca *ca, const char *serial,
    const struct ca_ocsp_status *status, time_t now, int life,
    struct ca_ocsp_answer *ret, struct error *err);

/* An unsigned answer: malformedRequest, internalError, tryLater, unauthorized. */
bool ca_ocsp_refusal(int status, struct ca_ocsp_answer *ret, struct error *err);
