/* OCSP responses: whether they can be believed and stapled, and asking for one. */
#include "wire.h"
#include "x509_facts.h"
#include "x509_ocsp.h"
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdbool.h>
#include <string.h>

#define CLOCK_SKEW  300          /* seconds a responder may be ahead of us */


static bool
read_time(const ASN1_GENERALIZEDTIME *at, time_t *ret)
{
    struct tm  tm;

    if (at == NULL || !ASN1_TIME_to_tm(at, &tm)) {
        return false;
    }

    *ret = timegm(&tm);

    return true;
}


/* What a responder answers when it has no status (RFC 6960 4.2.1). */
static const char  *error_rules[] = {
    [OCSP_RESPONSE_STATUS_MALFORMEDREQUEST] =
        "the OCSP response is the error malformedRequest: the responder could"
        " not read the request (RFC 6960 2.3)",
    [OCSP_RESPONSE_STATUS_INTERNALERROR] =
        "the OCSP response is the error internalError: ask the responder again"
        " later (RFC 6960 2.3)",
    [OCSP_RESPONSE_STATUS_TRYLATER] =
        "the OCSP response is the error tryLater: the responder cannot answer"
        " now, ask again later (RFC 6960 2.3)",
    [OCSP_RESPONSE_STATUS_SIGREQUIRED] =
        "the OCSP response is the error sigRequired: the responder answers"
        " signed requests only (RFC 6960 2.3)",
    [OCSP_RESPONSE_STATUS_UNAUTHORIZED] =
        "the OCSP response is the error unauthorized: the responder does not"
        " know this certificate, or not yet (RFC 6960 2.3, RFC 5019 2.2.3)",
};


static const char *
error_rule(int status)
{
    const char  *rule = NULL;

    if (status > 0 && status <= OCSP_RESPONSE_STATUS_UNAUTHORIZED) {
        rule = error_rules[status];
    }

    return rule ? rule : "the OCSP response has an unknown responseStatus"
                         " (RFC 6960 4.2.1)";
}


static OCSP_BASICRESP *
read_response(const unsigned char *der, size_t len, const char **why)
{
    const unsigned char  *p = der;
    OCSP_RESPONSE        *resp;
    OCSP_BASICRESP       *basic = NULL;

    *why = "the OCSP response is longer than 65536 bytes";

    if (len > CERTCTL_OCSP_MAX) {
        return NULL;
    }

    resp = d2i_OCSP_RESPONSE(NULL, &p, len);

    if (resp == NULL || p != der + len) {
        *why = "the OCSP response is not valid DER (RFC 6960 4.2.1)";

    } else if (OCSP_response_status(resp) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        *why = error_rule(OCSP_response_status(resp));

    } else {
        *why = "the OCSP response is not of the basic type (RFC 6960 4.2.1)";
        basic = OCSP_response_get1_basic(resp);
    }

    OCSP_RESPONSE_free(resp);

    return basic;
}


/*
 * The responder chooses the CertID's hash: ours is made with the same one. The
 * issuer's name and key, and the serial number, must all fit (RFC 6960 4.1.1).
 */
static bool
fits(const OCSP_SINGLERESP *single, X509 *cert, X509 *issuer)
{
    OCSP_CERTID   *theirs = (OCSP_CERTID *) OCSP_SINGLERESP_get0_id(single);
    OCSP_CERTID   *ours;
    ASN1_OBJECT   *hash;
    const EVP_MD  *md;
    bool           same;

    if (!OCSP_id_get0_info(NULL, &hash, NULL, NULL, theirs)) {
        return false;
    }

    md = EVP_get_digestbyobj(hash);
    ours = md ? OCSP_cert_to_id(md, cert, issuer) : NULL;
    same = ours != NULL && OCSP_id_cmp(ours, theirs) == 0;

    OCSP_CERTID_free(ours);

    return same;
}


/* A response may answer twice for one certificate: "revoked" counts then. */
static OCSP_SINGLERESP *
find_single(OCSP_BASICRESP *basic, X509 *cert, X509 *issuer)
{
    OCSP_SINGLERESP  *single, *found = NULL;
    int               i, status;

    for (i = 0; i < OCSP_resp_count(basic); i++) {
        single = OCSP_resp_get0(basic, i);
        status = OCSP_single_get0_status(single, NULL, NULL, NULL, NULL);

        if ((found == NULL || status == V_OCSP_CERTSTATUS_REVOKED)
            && fits(single, cert, issuer))
        {
            found = single;
        }
    }

    return found;
}


/*
 * The issuer is the only anchor, whatever else this host trusts, and NOEXPLICIT
 * leaves the issuer and its delegates as the only signers (RFC 6960 4.2.2.2).
 */
static bool
is_signed(OCSP_BASICRESP *basic, X509 *issuer, time_t now)
{
    X509_STORE      *store = X509_STORE_new();
    STACK_OF(X509)  *certs = sk_X509_new_null();
    bool             good;

    good = store != NULL && certs != NULL
           && X509_STORE_add_cert(store, issuer)
           && sk_X509_push(certs, issuer);

    if (good) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), now);

        good = OCSP_basic_verify(basic, certs, store, OCSP_NOEXPLICIT) == 1;
    }

    sk_X509_free(certs);
    X509_STORE_free(store);

    return good;
}


static const char *
read_single(OCSP_SINGLERESP *single, struct certctl_ocsp_info *ret)
{
    static const enum certctl_ocsp_status  statuses[] = {
        [V_OCSP_CERTSTATUS_GOOD] = CERTCTL_OCSP_GOOD,
        [V_OCSP_CERTSTATUS_REVOKED] = CERTCTL_OCSP_REVOKED,
        [V_OCSP_CERTSTATUS_UNKNOWN] = CERTCTL_OCSP_UNKNOWN,
    };
    ASN1_GENERALIZEDTIME  *revoked = NULL, *this_update = NULL;
    ASN1_GENERALIZEDTIME  *next_update = NULL;
    int                    status;

    ret->reason = -1;
    ret->revoked_at = 0;
    status = OCSP_single_get0_status(single, &ret->reason, &revoked,
                                     &this_update, &next_update);

    if (status < 0 || status > V_OCSP_CERTSTATUS_UNKNOWN) {
        return "the OCSP response has no status (RFC 6960 4.2.1)";
    }

    ret->status = statuses[status];

    if (!read_time(this_update, &ret->this_update)
        || (next_update && !read_time(next_update, &ret->next_update))
        || (revoked && !read_time(revoked, &ret->revoked_at)))
    {
        return "a time of the OCSP response is not valid (RFC 6960 4.2.2.1)";
    }

    if (next_update == NULL) {
        ret->next_update = ret->this_update + CERTCTL_OCSP_DEFAULT_LIFE;
    }

    return NULL;
}


static const char *
check_times(const struct certctl_ocsp_info *info, time_t now)
{
    if (info->next_update <= info->this_update) {
        return "nextUpdate is not after thisUpdate (RFC 6960 4.2.2.1)";
    }

    if (info->this_update > now + CLOCK_SKEW) {
        return "thisUpdate of the OCSP response is in the future"
               " (RFC 6960 3.2)";
    }

    return now >= info->next_update
           ? "nextUpdate of the OCSP response is past (RFC 6960 3.2)" : NULL;
}


static const char *
check_response(const unsigned char *der, size_t len, X509 *cert, X509 *issuer,
    time_t now, struct certctl_ocsp_info *ret)
{
    struct certctl_ocsp_info   info;
    OCSP_BASICRESP            *basic;
    OCSP_SINGLERESP           *single;
    const char                *why;

    basic = read_response(der, len, &why);
    if (basic == NULL) {
        return why;
    }

    single = find_single(basic, cert, issuer);

    /* OpenSSL also takes what is BER alone, of which the age is not known */

    if (certctl_ocsp_this_update(der, len) == 0) {
        why = "the OCSP response is not valid DER (RFC 6960 4.2.1)";

    } else if (single == NULL) {
        why = "the OCSP response is for another certificate (RFC 6960 3.2)";

    } else if (!is_signed(basic, issuer, now)) {
        why = "the OCSP response is not signed by the issuer or its delegate"
              " (RFC 6960 4.2.2.2)";

    } else {
        why = read_single(single, &info);
    }

    if (why == NULL) {
        why = check_times(&info, now);
    }

    if (why == NULL) {
        *ret = info;
        ret->answers = OCSP_resp_count(basic);
    }

    OCSP_BASICRESP_free(basic);

    return why;
}


const char *
certctl_ocsp_check(const unsigned char *der, size_t len, X509 *cert,
    X509 *issuer, time_t now, struct certctl_ocsp_info *ret)
{
    const char  *why;

    ERR_set_mark();
    why = check_response(der, len, cert, issuer, now, ret);
    ERR_pop_to_mark();

    return why;
}


const char *
certctl_ocsp_staple_check(const struct certctl_ocsp_info *info, X509 *cert,
    time_t now)
{
    const char  *why;

    if (info->status != CERTCTL_OCSP_GOOD) {
        return "only a status \"good\" is stapled";
    }

    if (info->answers != 1) {
        return "the OCSP response answers for other certificates as well, and"
               " would be stapled with them (RFC 6066 8): request one for this"
               " certificate alone";
    }

    ERR_set_mark();

    /* again, and both ends: the clock may have been set back since */
    why = check_times(info, now);

    if (why == NULL && X509_cmp_time(X509_get0_notAfter(cert), &now) <= 0) {
        why = "the certificate has expired";
    }

    ERR_pop_to_mark();

    return why;
}


static X509 *
find_issuer(X509 *cert, STACK_OF(X509) *chain)
{
    int  i;

    for (i = 0; i < sk_X509_num(chain); i++) {
        if (X509_check_issued(sk_X509_value(chain, i), cert) == X509_V_OK) {
            return sk_X509_value(chain, i);
        }
    }

    return NULL;
}


const char *
certctl_ocsp_check_staple(const unsigned char *der, size_t len, X509 *cert,
    STACK_OF(X509) *chain, time_t now, struct certctl_ocsp_info *ret)
{
    X509        *issuer = find_issuer(cert, chain);
    const char  *why;

    ret->answers = 0;

    if (issuer == NULL) {
        return "the chain lacks the issuer's certificate, without which no"
               " OCSP response can be verified";
    }

    why = certctl_ocsp_check(der, len, cert, issuer, now, ret);

    return why ? why : certctl_ocsp_staple_check(ret, cert, now);
}


int
certctl_ocsp_request(X509 *cert, X509 *issuer, unsigned char **ret)
{
    OCSP_REQUEST   *req = OCSP_REQUEST_new();
    OCSP_CERTID    *id;
    unsigned char  *der = NULL;
    int             len = -1;

    ERR_set_mark();

    id = OCSP_cert_to_id(EVP_sha1(), cert, issuer);

    if (req != NULL && id != NULL && OCSP_request_add0_id(req, id)) {
        len = i2d_OCSP_REQUEST(req, &der);

    } else {
        OCSP_CERTID_free(id);
    }

    OCSP_REQUEST_free(req);
    ERR_pop_to_mark();

    if (len <= 0) {
        return -1;
    }

    *ret = der;

    return len;
}
