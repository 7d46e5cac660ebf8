/* OCSP responses (RFC 6960 4.2): what is known of a serial, signed. */
#include "ca_ocsp_build.h"

#include <openssl/err.h>
#include <string.h>

static const int  statuses[] = {
    [CA_OCSP_GOOD]    = V_OCSP_CERTSTATUS_GOOD,
    [CA_OCSP_REVOKED] = V_OCSP_CERTSTATUS_REVOKED,
    [CA_OCSP_UNKNOWN] = V_OCSP_CERTSTATUS_UNKNOWN,
};

static bool
answer_encode(OCSP_RESPONSE *resp, struct ca_ocsp_answer *ret, struct error *err)
{
    unsigned char  *der = NULL;
    int             len = i2d_OCSP_RESPONSE(resp, &der);

    if (len <= 0) {
        return error_set_ossl(err, ERR_INTERNAL, "OCSP response");
    }

    ret->der = der;
    ret->len = (size_t) len;
    ret->status = OCSP_response_status(resp);

    return true;
}

bool
ca_ocsp_refusal(int status, struct ca_ocsp_answer *ret, struct error *err)
{
    struct ca_ocsp_answer                  answer = { 0 };
    CLEANUP(ocsp_response) OCSP_RESPONSE  *resp = NULL;

    resp = OCSP_response_create(status, NULL);

    if (resp == NULL) {
        return error_set_ossl(err, ERR_INTERNAL, "OCSP response");
    }

    if (!answer_encode(resp, &answer, err)) {
        return false;
    }

    *ret = answer;

    return true;
}

bool
ca_ocsp_begin(struct ca_ocsp_reply *reply, const struct ca *ca, time_t now,
    int life, struct error *err)
{
    X509    *signer = ca->responder ? ca->responder : ca->cert;
    time_t   end;

    if (ca->responder == NULL
        && !(X509_get_key_usage(ca->cert) & KU_DIGITAL_SIGNATURE))
    {
        return error_set(err, ERR_INVALID, "RFC 5280 4.2.1.3: without a "
                         "responder's certificate the CA's keyUsage needs "
                         "digitalSignature");
    }

    if (!ca_time(X509_get0_notAfter(signer), &end) || end <= now) {
        return error_set(err, ERR_UNAVAILABLE, "RFC 6960 4.2.2.2: the OCSP "
                         "signer's certificate has expired");
    }

    reply->ca = ca;
    reply->this_update = now - CA_OCSP_SKEW;
    reply->next_update = end - now < life ? end : now + life;
    reply->basic = OCSP_BASICRESP_new();

    return reply->basic != NULL
           || error_set_ossl(err, ERR_INTERNAL, "OCSP response");
}

/* OpenSSL copies id and times. */
bool
ca_ocsp_add(struct ca_ocsp_reply *reply, OCSP_CERTID *id,
    const struct ca_ocsp_status *status, struct error *err)
{
    bool                          revoked = status->state == CA_OCSP_REVOKED;
    int                           reason = OCSP_REVOKED_STATUS_NOSTATUS;
    CLEANUP(asn1_time) ASN1_TIME  *this = NULL, *next = NULL, *at = NULL;

    if (revoked && !ca_reason_known(status->reason)) {
        return error_set(err, ERR_INVALID, "RFC 5280 5.3.1: %d is no reason for "
                         "a revocation", status->reason);
    }

    if (revoked && status->reason != OCSP_REVOKED_STATUS_UNSPECIFIED) {
        reason = status->reason;
    }

    this = ASN1_GENERALIZEDTIME_set(NULL, reply->this_update);
    next = ASN1_GENERALIZEDTIME_set(NULL, reply->next_update);
    at = revoked ? ASN1_GENERALIZEDTIME_set(NULL, status->revoked_at) : NULL;

    if (this == NULL || next == NULL || (revoked && at == NULL)
        || !OCSP_basic_add1_status(reply->basic, id, statuses[status->state],
                                   reason, at, this, next))
    {
        return error_set_ossl(err, ERR_INTERNAL, "OCSP single response");
    }

    return true;
}

/*
 * A responder is named by its key (4.2.2.3), which stays short, and sends its
 * certificate along.  The authority need not; it is named by its name, as GnuTLS
 * looks for a trusted certificate by nothing else.
 */
bool
ca_ocsp_finish(struct ca_ocsp_reply *reply, struct ca_ocsp_answer *ret,
    struct error *err)
{
    const struct ca                       *ca = reply->ca;
    X509                                  *cert = ca->cert;
    EVP_PKEY                              *key = ca->key;
    unsigned long                          flags = OCSP_NOCERTS;
    struct ca_ocsp_answer                  answer = { 0 };
    CLEANUP(ocsp_response) OCSP_RESPONSE  *resp = NULL;

    if (ca->responder) {
        cert = ca->responder;
        key = ca->responder_key;
        flags = OCSP_RESPID_KEY;
    }

    if (!OCSP_basic_sign(reply->basic, cert, key, ca_digest(key), NULL, flags)) {
        return error_set_ossl(err, ERR_INTERNAL, "OCSP signature");
    }

    resp = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, reply->basic);

    if (resp == NULL) {
        return error_set_ossl(err, ERR_INTERNAL, "OCSP response");
    }

    answer.this_update = reply->this_update;
    answer.next_update = reply->next_update;
    answer.nonce = reply->nonce;

    if (!answer_encode(resp, &answer, err)) {
        return false;
    }

    *ret = answer;

    return true;
}

/* SHA-1 is what every client understands here (RFC 5019 2.1.1); nothing is
 * protected by it. */
bool
ca_ocsp_for(const struct ca *ca, const char *serial,
    const struct ca_ocsp_status *status, time_t now, int life,
    struct ca_ocsp_answer *ret, struct error *err)
{
    CLEANUP(asn1_integer) ASN1_INTEGER           *number = NULL;
    CLEANUP(ocsp_certid) OCSP_CERTID             *id = NULL;
    CLEANUP(ocsp_reply) struct ca_ocsp_reply      reply = { 0 };

    number = ca_serial_parse(serial, err);

    if (number == NULL) {
        return false;
    }

    id = OCSP_cert_id_new(EVP_sha1(), X509_get_subject_name(ca->cert),
                          X509_get0_pubkey_bitstr(ca->cert), number);

    if (id == NULL) {
        return error_set_ossl(err, ERR_INTERNAL, "OCSP CertID");
    }

    return ca_ocsp_begin(&reply, ca, now, life, err)
           && ca_ocsp_add(&reply, id, status, err)
           && ca_ocsp_finish(&reply, ret, err);
}
