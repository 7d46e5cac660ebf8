/* OCSP requests (RFC 6960 4.1), from strangers: read, checked, answered. */
#include "ca_ocsp_build.h"

#include <openssl/err.h>

#define NONCE_MAX   128                /* RFC 9654 2.1: longer is malformed */
#define NONCE_ECHO  32                 /* longer may be ignored, and is */

enum nonce { NONCE_NONE, NONCE_IGNORED, NONCE_ECHOED, NONCE_MALFORMED };

/* The issuer part of a CertID, by the hashes that we answer to. */
static const EVP_MD *(*const digests[])(void) = { EVP_sha1, EVP_sha256 };

static OCSP_CERTID *
request_id(OCSP_REQUEST *request, int i)
{
    return OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, i));
}

/* An answer repeats them: the parameters of a hash algorithm may be what OpenSSL
 * reads, but cannot copy. */
static bool
ids_copyable(OCSP_REQUEST *request)
{
    OCSP_CERTID  *copy;
    bool          good = true;

    for (int i = 0; good && i < OCSP_request_onereq_count(request); i++) {
        copy = OCSP_CERTID_dup(request_id(request, i));
        good = copy != NULL;
        OCSP_CERTID_free(copy);
    }

    return good;
}

static OCSP_REQUEST *
request_read(const unsigned char *der, size_t len)
{
    const unsigned char                 *p = der;
    CLEANUP(ocsp_request) OCSP_REQUEST  *request = NULL;

    if (len == 0 || len > CA_OCSP_REQUEST_MAX) {
        return NULL;
    }

    request = d2i_OCSP_REQUEST(NULL, &p, (long) len);

    if (request == NULL || p != der + len || OCSP_request_onereq_count(request) < 1
        || OCSP_request_onereq_count(request) > CA_OCSP_SINGLES_MAX
        || !ids_copyable(request))
    {
        return NULL;
    }

    return TAKE(request);
}

/* The extension holds an OCTET STRING of its own (RFC 9654 2.1). */
static enum nonce
nonce_kind(X509_EXTENSION *ext)
{
    enum nonce            kind;
    ASN1_OCTET_STRING    *outer = X509_EXTENSION_get_data(ext), *inner;
    const unsigned char  *start = ASN1_STRING_get0_data(outer), *p = start;
    int                   len = ASN1_STRING_length(outer);

    inner = d2i_ASN1_OCTET_STRING(NULL, &p, len);

    if (inner == NULL || p != start + len || ASN1_STRING_length(inner) < 1
        || ASN1_STRING_length(inner) > NONCE_MAX)
    {
        kind = NONCE_MALFORMED;
    } else {
        kind = ASN1_STRING_length(inner) > NONCE_ECHO ? NONCE_IGNORED
                                                      : NONCE_ECHOED;
    }

    ASN1_OCTET_STRING_free(inner);

    return kind;
}

/* An extension that we do not know may be passed over unless critical (4.4). */
static enum nonce
request_nonce(OCSP_REQUEST *request, X509_EXTENSION **ret)
{
    enum nonce       kind = NONCE_NONE;
    X509_EXTENSION  *ext;

    for (int i = 0; i < OCSP_REQUEST_get_ext_count(request); i++) {
        ext = OCSP_REQUEST_get_ext(request, i);

        if (OBJ_obj2nid(X509_EXTENSION_get_object(ext))
            == NID_id_pkix_OCSP_Nonce)
        {
            if (kind != NONCE_NONE) {
                return NONCE_MALFORMED;             /* RFC 5280 4.2: one each */
            }

            kind = nonce_kind(ext);
            *ret = ext;

        } else if (X509_EXTENSION_get_critical(ext)) {
            return NONCE_MALFORMED;
        }
    }

    return kind;
}

static bool
issued_by(const struct ca *ca, OCSP_CERTID *id)
{
    bool                               same;
    CLEANUP(ocsp_certid) OCSP_CERTID  *own = NULL;

    for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        own = OCSP_cert_to_id(digests[i](), NULL, ca->cert);
        same = own && OCSP_id_issuer_cmp(own, id) == 0;

        if (same) {
            return true;
        }

        OCSP_CERTID_free(TAKE(own));
    }

    return false;
}

/* Whose certificate the first CertID that we know asks for; it signs for all. */
static const struct ca *
request_ca(const struct ca *const *cas, OCSP_REQUEST *request)
{
    for (int i = 0; i < OCSP_request_onereq_count(request); i++) {
        for (const struct ca *const *ca = cas; *ca; ca++) {
            if (issued_by(*ca, request_id(request, i))) {
                return *ca;
            }
        }
    }

    return NULL;
}

/* Of other issuers, and of serials that cannot be ours, nothing is known. */
static bool
single_status(const struct ca *ca, OCSP_CERTID *id, ca_ocsp_lookup_fn *lookup,
    void *data, struct ca_ocsp_status *ret, struct error *err)
{
    char           serial[CA_SERIAL_HEX];
    ASN1_INTEGER  *number = NULL;

    *ret = (struct ca_ocsp_status) { .state = CA_OCSP_UNKNOWN };

    if (!OCSP_id_get0_info(NULL, NULL, NULL, &number, id)
        || !ca_serial_text(number, serial) || !issued_by(ca, id))
    {
        return true;
    }

    return lookup(ca, serial, ret, data, err);
}

static bool
request_answer(const struct ca *ca, OCSP_REQUEST *request, X509_EXTENSION *nonce,
    struct ca_ocsp_reply *reply, ca_ocsp_lookup_fn *lookup, void *data,
    struct error *err)
{
    OCSP_CERTID            *id;
    struct ca_ocsp_status   status;

    for (int i = 0; i < OCSP_request_onereq_count(request); i++) {
        id = request_id(request, i);

        if (!single_status(ca, id, lookup, data, &status, err)
            || !ca_ocsp_add(reply, id, &status, err))
        {
            return false;
        }
    }

    if (nonce && !OCSP_BASICRESP_add_ext(reply->basic, nonce, -1)) {
        return error_set_ossl(err, ERR_INTERNAL, "OCSP nonce");
    }

    reply->nonce = nonce != NULL;

    return true;
}

bool
ca_ocsp_answer(const struct ca *const *cas, const unsigned char *der, size_t len,
    time_t now, int life, ca_ocsp_lookup_fn *lookup, void *data,
    struct ca_ocsp_answer *ret, struct error *err)
{
    enum nonce                                  kind = NONCE_MALFORMED;
    const struct ca                            *ca;
    X509_EXTENSION                             *nonce = NULL;
    CLEANUP(ocsp_request) OCSP_REQUEST         *request = request_read(der, len);
    CLEANUP(ocsp_reply) struct ca_ocsp_reply    reply = { 0 };

    if (request) {
        kind = request_nonce(request, &nonce);
    }

    ERR_clear_error();

    if (kind == NONCE_MALFORMED) {
        return ca_ocsp_refusal(OCSP_RESPONSE_STATUS_MALFORMEDREQUEST, ret, err);
    }

    ca = request_ca(cas, request);

    if (ca == NULL) {
        return ca_ocsp_refusal(OCSP_RESPONSE_STATUS_UNAUTHORIZED, ret, err);
    }

    if (!ca_ocsp_begin(&reply, ca, now, life, err)
        || !request_answer(ca, request, kind == NONCE_ECHOED ? nonce : NULL,
                           &reply, lookup, data, err)
        || !ca_ocsp_finish(&reply, ret, err))
    {
        return ca_ocsp_refusal(err->code == ERR_UNAVAILABLE
                               ? OCSP_RESPONSE_STATUS_TRYLATER
                               : OCSP_RESPONSE_STATUS_INTERNALERROR, ret,
                               &(struct error) { 0 });
    }

    return true;
}
