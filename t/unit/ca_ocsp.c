/* OCSP: what a client believes (RFC 6960, 5019, 9654), and what strangers send. */
#include "ca_support.h"
#include "tap.h"
#include "x509_ocsp.h"

#include <openssl/ocsp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <time.h>

#define LIFE  (4 * 86400)

static struct ca_ocsp_status  known = { .state = CA_OCSP_GOOD };
static char                   asked[CA_SERIAL_HEX];
static int                    asked_count;

static bool
look_up(const struct ca *ca, const char *serial, struct ca_ocsp_status *ret,
    void *data, struct error *err)
{
    (void) ca;

    memcpy(asked, serial, strlen(serial) + 1);
    asked_count++;

    if (data) {
        return error_set(err, *(enum err *) data, "the database is away");
    }

    *ret = known;

    return true;
}

/* The request that a client would send; EVP_MD of its CertIDs, nonce octets. */
static OCSP_REQUEST *
request_make(X509 *cert, const struct ca *ca, const EVP_MD *md, int singles,
    int nonce)
{
    OCSP_REQUEST   *request = OCSP_REQUEST_new();
    unsigned char   octets[200];

    for (int i = 0; i < singles; i++) {
        OCSP_request_add0_id(request, OCSP_cert_to_id(md, cert, ca->cert));
    }

    if (nonce > 0) {
        RAND_bytes(octets, sizeof(octets));
        OCSP_request_add1_nonce(request, octets, nonce);
    }

    return request;
}

static bool
answer(const struct ca *ca, OCSP_REQUEST *request, struct ca_ocsp_answer *ret,
    void *data, struct error *err)
{
    unsigned char    *der = NULL;
    int               len = i2d_OCSP_REQUEST(request, &der);
    const struct ca  *cas[] = { ca, NULL };
    bool              good;

    good = ca_ocsp_answer(cas, der, len, time(NULL), LIFE, look_up, data, ret,
                          err);
    OPENSSL_free(der);

    return good;
}

static OCSP_BASICRESP *
basic_read(const struct ca_ocsp_answer *a)
{
    const unsigned char  *p = a->der;
    OCSP_RESPONSE        *resp = d2i_OCSP_RESPONSE(NULL, &p, (long) a->len);
    OCSP_BASICRESP       *basic = resp ? OCSP_response_get1_basic(resp) : NULL;

    OCSP_RESPONSE_free(resp);

    return basic;
}

static struct ca *
root_now(const char *type, bool signs_ocsp)
{
    struct error  err;
    time_t        now = time(NULL);

    return ca_create(NULL, &(struct ca_spec) { .key_type = type,
        .common_name = "OCSP Root", .not_before = now - DAY,
        .not_after = now + 3650 * DAY, .path_len = CA_PATH_LEN_ANY,
        .signs_ocsp = signs_ocsp }, &err);
}

static X509 *
leaf_now(const struct ca *ca, const char *serial)
{
    struct error             err;
    CLEANUP(pkey) EVP_PKEY  *key = certctl_key_generate("ec-p256");

    return ca_issue(ca, key, &(struct ca_profile) { .serial = serial,
        .sans = "DNS:a.example", .not_before = time(NULL) - 60,
        .not_after = time(NULL) + 90 * DAY, .eku = CA_EKU_SERVER_AUTH }, &err);
}

/* Each key type and each hash: a client that knows only the CA believes it. */
static void
test_believed(const char *type, bool delegate, const EVP_MD *md)
{
    struct error               err = { 0 };
    struct ca_ocsp_answer      a = { 0 };
    struct certctl_ocsp_info   info;
    CLEANUP(ca) struct ca     *ca = root_now(type, !delegate);
    CLEANUP(x509) X509        *leaf = leaf_now(ca, "4fabcdef");
    OCSP_REQUEST              *request = request_make(leaf, ca, md, 1, 0);
    const char                *why;

    if (delegate) {
        ok(ca_responder_create(ca, "5001", time(NULL), 30 * DAY, &err),
           "a responder of a CA with %s: %s", type, err.detail);
    }

    known = (struct ca_ocsp_status) { .state = CA_OCSP_GOOD };
    ok(answer(ca, request, &a, NULL, &err) && a.status == 0,
       "%s, %s: an answer: %s", type, EVP_MD_get0_name(md), err.detail);
    is_str(asked, "4fabcdef", "the serial that was asked for is looked up");

    why = certctl_ocsp_check(a.der, a.len, leaf, ca->cert, time(NULL), &info);
    ok(why == NULL && info.status == CERTCTL_OCSP_GOOD,
       "a client believes it, good: %s", why ? why : "");
    ok(info.next_update - info.this_update == LIFE + CA_OCSP_SKEW
       && info.this_update == a.this_update && info.next_update == a.next_update
       && !a.nonce, "times as promised");
    OPENSSL_free(a.der);

    known = (struct ca_ocsp_status) { CA_OCSP_REVOKED, 1700000000, 1 };
    answer(ca, request, &a, NULL, &err);
    why = certctl_ocsp_check(a.der, a.len, leaf, ca->cert, time(NULL), &info);
    ok(why == NULL && info.status == CERTCTL_OCSP_REVOKED
       && info.revoked_at == 1700000000 && info.reason == 1,
       "revoked, when and why: %s", why ? why : "");
    OPENSSL_free(a.der);

    known = (struct ca_ocsp_status) { CA_OCSP_REVOKED, 1700000000, 0 };
    ok(ca_ocsp_for(ca, "4fabcdef", &known, time(NULL), LIFE, &a, &err),
       "without a request: %s", err.detail);
    why = certctl_ocsp_check(a.der, a.len, leaf, ca->cert, time(NULL), &info);
    ok(why == NULL && info.reason == -1, "unspecified is not said: %s",
       why ? why : "");
    OPENSSL_free(a.der);

    OCSP_REQUEST_free(request);
}

static void
test_nonces(const struct ca *ca, X509 *leaf)
{
    static const struct { int len; int status; bool echoed; } nonces[] = {
        { 1, 0, true }, { 16, 0, true }, { 32, 0, true }, { 33, 0, false },
        { 128, 0, false }, { 129, 1, false }, { 200, 1, false }
    };

    known = (struct ca_ocsp_status) { .state = CA_OCSP_GOOD };

    for (size_t i = 0; i < sizeof(nonces) / sizeof(nonces[0]); i++) {
        struct error            err = { 0 };
        struct ca_ocsp_answer   a = { 0 };
        OCSP_REQUEST           *request = request_make(leaf, ca, EVP_sha1(), 1,
                                                       nonces[i].len);
        OCSP_BASICRESP         *basic;

        answer(ca, request, &a, NULL, &err);
        is_int(a.status, nonces[i].status, "a nonce of %d octets",
               nonces[i].len);
        basic = basic_read(&a);
        ok(a.nonce == nonces[i].echoed
           && (basic == NULL
               || OCSP_check_nonce(request, basic) == (nonces[i].echoed ? 1 : -1)),
           "%s", nonces[i].echoed ? "is sent back" : "is not");

        OCSP_BASICRESP_free(basic);
        OPENSSL_free(a.der);
        OCSP_REQUEST_free(request);
    }
}

/* An extension of the request with octets as its value. */
static void
request_ext(OCSP_REQUEST *request, int nid, bool critical, const char *octets,
    int len)
{
    ASN1_OCTET_STRING  *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION     *ext;

    ASN1_OCTET_STRING_set(value, (const unsigned char *) octets, len);
    ext = X509_EXTENSION_create_by_NID(NULL, nid, critical, value);
    OCSP_REQUEST_add_ext(request, ext, -1);
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(value);
}

static void
test_extensions(const struct ca *ca, X509 *leaf)
{
    static const struct { int nid; bool critical; const char *octets; int len;
                          int status; const char *name; } exts[] = {
        { NID_id_pkix_OCSP_Nonce, false, "\x04\x00", 2, 1, "an empty nonce" },
        { NID_id_pkix_OCSP_Nonce, false, "", 0, 1, "a nonce of nothing" },
        { NID_id_pkix_OCSP_Nonce, false, "abcd", 4, 1, "a nonce without DER" },
        { NID_id_pkix_OCSP_Nonce, false, "\x04\x01" "ab", 4, 1,
          "a nonce with octets behind it" },
        { NID_id_pkix_OCSP_serviceLocator, false, "\x30\x00", 2, 0,
          "an extension that may be passed over" },
        { NID_id_pkix_OCSP_serviceLocator, true, "\x30\x00", 2, 1,
          "a critical one that is not known" },
    };

    for (size_t i = 0; i < sizeof(exts) / sizeof(exts[0]); i++) {
        struct error            err = { 0 };
        struct ca_ocsp_answer   a = { 0 };
        OCSP_REQUEST           *request = request_make(leaf, ca, EVP_sha1(), 1, 0);

        request_ext(request, exts[i].nid, exts[i].critical, exts[i].octets,
                    exts[i].len);
        answer(ca, request, &a, NULL, &err);
        is_int(a.status, exts[i].status, "%s", exts[i].name);

        OPENSSL_free(a.der);
        OCSP_REQUEST_free(request);
    }
}

static void
test_many(const struct ca *ca, X509 *leaf)
{
    struct error            err = { 0 };
    struct ca_ocsp_answer   a = { 0 };
    static const struct { int singles, status; } counts[] = {
        { 0, 1 }, { 2, 0 }, { 20, 0 }, { 21, 1 },
    };

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        OCSP_REQUEST    *request = request_make(leaf, ca, EVP_sha1(),
                                                counts[i].singles, 0);
        OCSP_BASICRESP  *basic;

        asked_count = 0;
        answer(ca, request, &a, NULL, &err);
        is_int(a.status, counts[i].status, "%d certificates in one request",
               counts[i].singles);

        basic = basic_read(&a);

        if (basic) {
            ok(OCSP_resp_count(basic) == counts[i].singles
               && asked_count == counts[i].singles, "all answered");
        }

        OCSP_BASICRESP_free(basic);
        OPENSSL_free(a.der);
        OCSP_REQUEST_free(request);
    }
}

static void
test_foreign(const struct ca *ca, X509 *leaf)
{
    struct error            err = { 0 };
    struct ca_ocsp_answer   a = { 0 };
    CLEANUP(ca) struct ca  *other = root_now("ec-p256", true);
    CLEANUP(x509) X509     *theirs = leaf_now(other, "99");
    OCSP_REQUEST           *request = request_make(theirs, other, EVP_sha1(), 1,
                                                   0);
    const struct ca        *both[] = { other, ca, NULL };
    OCSP_BASICRESP         *basic;
    unsigned char          *der = NULL;
    int                     len, status;

    answer(ca, request, &a, NULL, &err);
    is_int(a.status, OCSP_RESPONSE_STATUS_UNAUTHORIZED,
           "another CA's certificate: unauthorized");
    OPENSSL_free(a.der);

    /* Same name, other key: both hashes must fit. */
    is_int(X509_NAME_cmp(X509_get_subject_name(other->cert),
                         X509_get_subject_name(ca->cert)), 0, "namesakes");

    OCSP_request_add0_id(request, OCSP_cert_to_id(EVP_sha256(), leaf, ca->cert));
    answer(ca, request, &a, NULL, &err);
    basic = basic_read(&a);
    OCSP_single_get0_status(OCSP_resp_get0(basic, 0), NULL, NULL, NULL, NULL);
    status = OCSP_single_get0_status(OCSP_resp_get0(basic, 0), NULL, NULL, NULL,
                                     NULL);
    ok(status == V_OCSP_CERTSTATUS_UNKNOWN
       && OCSP_single_get0_status(OCSP_resp_get0(basic, 1), NULL, NULL, NULL,
                                  NULL) == V_OCSP_CERTSTATUS_GOOD,
       "beside one of ours it is unknown, ours is answered");
    OCSP_BASICRESP_free(basic);
    OPENSSL_free(a.der);
    OCSP_REQUEST_free(request);

    request = request_make(leaf, ca, EVP_sha256(), 1, 0);
    len = i2d_OCSP_REQUEST(request, &der);
    ok(ca_ocsp_answer(both, der, len, time(NULL), LIFE, look_up, NULL, &a, &err)
       && certctl_ocsp_check(a.der, a.len, leaf, ca->cert, time(NULL),
                             &(struct certctl_ocsp_info) { 0 }) == NULL,
       "of several CAs the one that issued it signs");
    OPENSSL_free(a.der);
    OPENSSL_free(der);
    OCSP_REQUEST_free(request);

    request = request_make(leaf, ca, EVP_sha512(), 1, 0);
    answer(ca, request, &a, NULL, &err);
    is_int(a.status, OCSP_RESPONSE_STATUS_UNAUTHORIZED,
           "a CertID by a hash that we do not answer to");
    OPENSSL_free(a.der);
    OCSP_REQUEST_free(request);
}

/* Serials that no certificate of ours can have are not looked up. */
static void
test_odd_serials(const struct ca *ca, X509 *leaf)
{
    static const char *const  serials[] = {
        "-5", "0", "123456789012345678901234567890123456789012345678"
    };

    for (size_t i = 0; i < sizeof(serials) / sizeof(serials[0]); i++) {
        struct error            err = { 0 };
        struct ca_ocsp_answer   a = { 0 };
        BIGNUM                 *bn = NULL;
        ASN1_INTEGER           *serial;
        OCSP_CERTID            *id = OCSP_cert_to_id(EVP_sha1(), leaf, ca->cert);
        OCSP_REQUEST           *request = OCSP_REQUEST_new();
        OCSP_BASICRESP         *basic;

        BN_hex2bn(&bn, serials[i]);
        OCSP_id_get0_info(NULL, NULL, NULL, &serial, id);
        BN_to_ASN1_INTEGER(bn, serial);
        OCSP_request_add0_id(request, id);

        asked_count = 0;
        answer(ca, request, &a, NULL, &err);
        basic = basic_read(&a);
        ok(asked_count == 0 && basic
           && OCSP_single_get0_status(OCSP_resp_get0(basic, 0), NULL, NULL, NULL,
                                      NULL) == V_OCSP_CERTSTATUS_UNKNOWN,
           "serial %s is unknown", serials[i]);

        OCSP_BASICRESP_free(basic);
        OPENSSL_free(a.der);
        OCSP_REQUEST_free(request);
        BN_free(bn);
    }
}

/* Every prefix, and each octet changed: an answer, never a crash. */
static void
test_garbage(const struct ca *ca, X509 *leaf)
{
    struct error            err = { 0 };
    struct ca_ocsp_answer   a = { 0 };
    const struct ca        *cas[] = { ca, NULL };
    OCSP_REQUEST           *request = request_make(leaf, ca, EVP_sha1(), 1, 8);
    unsigned char          *der = NULL, *big = calloc(1, 16385);
    int                     len = i2d_OCSP_REQUEST(request, &der), bad = 0;

    for (int i = 0; i < len; i++) {
        bad += !ca_ocsp_answer(cas, der, i, time(NULL), LIFE, look_up, NULL, &a,
                               &err) || a.status != 1;
        OPENSSL_free(a.der);

        der[i] ^= 0xff;
        bad += !ca_ocsp_answer(cas, der, len, time(NULL), LIFE, look_up, NULL, &a,
                               &err) || a.der == NULL;
        OPENSSL_free(a.der);
        der[i] ^= 0xff;
    }

    is_int(bad, 0, "%d cut requests are malformed, as many flipped are answered",
           len);

    memcpy(big, der, len);
    ca_ocsp_answer(cas, big, len + 1, time(NULL), LIFE, look_up, NULL, &a, &err);
    is_int(a.status, 1, "an octet behind the request");
    OPENSSL_free(a.der);

    ca_ocsp_answer(cas, big, 16385, time(NULL), LIFE, look_up, NULL, &a, &err);
    is_int(a.status, 1, "more than 16 KiB");
    OPENSSL_free(a.der);

    free(big);
    OPENSSL_free(der);
    OCSP_REQUEST_free(request);
}

static void
test_troubles(const struct ca *ca, X509 *leaf)
{
    struct error            err = { 0 };
    struct ca_ocsp_answer   a = { 0 };
    OCSP_REQUEST           *request = request_make(leaf, ca, EVP_sha1(), 1, 0);
    CLEANUP(ca) struct ca  *mute = root_now("ec-p256", false);
    enum err                code = ERR_UNAVAILABLE;

    ok(answer(ca, request, &a, &code, &err)
       && a.status == OCSP_RESPONSE_STATUS_TRYLATER
       && err.code == ERR_UNAVAILABLE, "database away: tryLater, and why");
    OPENSSL_free(a.der);

    code = ERR_INTERNAL;
    ok(answer(ca, request, &a, &code, &err)
       && a.status == OCSP_RESPONSE_STATUS_INTERNALERROR, "else internalError");
    OPENSSL_free(a.der);

    known = (struct ca_ocsp_status) { CA_OCSP_GOOD, 0, 0 };
    ok(!ca_ocsp_for(mute, "1", &known, time(NULL), LIFE, &a, &err)
       && strstr(err.detail, "digitalSignature"), "refused: %s", err.detail);
    ok(!ca_ocsp_for(ca, "0", &known, time(NULL), LIFE, &a, &err)
       && strstr(err.detail, "4.1.2.2"), "refused: %s", err.detail);
    known = (struct ca_ocsp_status) { CA_OCSP_REVOKED, 1, 7 };
    ok(!ca_ocsp_for(ca, "1", &known, time(NULL), LIFE, &a, &err)
       && strstr(err.detail, "5.3.1"), "refused: %s", err.detail);

    OCSP_REQUEST_free(request);
}

static void
test_responder(void)
{
    struct error             err = { 0 };
    struct ca_ocsp_answer    a = { 0 };
    time_t                   now = time(NULL), end;
    CLEANUP(ca) struct ca   *ca = root_now("ec-p256", false);
    CLEANUP(ca) struct ca   *other = root_now("ec-p256", false);
    CLEANUP(x509) X509      *leaf = leaf_now(ca, "6001");
    CLEANUP(pkey) EVP_PKEY  *key = certctl_key_generate("ec-p256");
    char                    *pem, *key_pem, *leaf_pem;
    struct tm                tm;

    ok(ca_responder_create(ca, "6002", now, 30 * DAY, &err)
       && X509_get_extended_key_usage(ca->responder) == XKU_OCSP_SIGN
       && X509_get_ext_by_NID(ca->responder, NID_id_pkix_OCSP_noCheck, -1) >= 0
       && X509_get_key_usage(ca->responder) == KU_DIGITAL_SIGNATURE,
       "a responder signs OCSP, and nobody asks about it in turn");

    pem = ca_x509_pem(ca->responder, &err);
    key_pem = ca_pkey_pem(ca->responder_key, &err);
    leaf_pem = ca_x509_pem(leaf, &err);

    ok(ca_responder_load(ca, pem, key_pem, now, &err), "it comes back");
    ok(!ca_responder_load(other, pem, key_pem, now, &err)
       && other->responder == NULL, "refused: %s", err.detail);
    ok(!ca_responder_load(ca, pem, key_pem, now + 31 * DAY, &err), "refused: %s",
       err.detail);
    ok(!ca_responder_load(ca, leaf_pem, key_pem, now, &err), "refused: %s",
       err.detail);
    ok(!ca_responder_load(ca, "", key_pem, now, &err), "refused: %s", err.detail);
    ok(!ca_responder_load(ca, pem, "", now, &err), "refused: %s", err.detail);
    ok(ca->responder && ca->responder_key, "and the one before stays");

    ASN1_TIME_to_tm(X509_get0_notAfter(ca->responder), &tm);
    end = timegm(&tm);
    known = (struct ca_ocsp_status) { CA_OCSP_GOOD, 0, 0 };
    ok(ca_ocsp_for(ca, "6001", &known, end - DAY, LIFE, &a, &err)
       && a.next_update == end, "no answer outlives the responder");
    OPENSSL_free(a.der);
    ok(!ca_ocsp_for(ca, "6001", &known, end, LIFE, &a, &err), "refused: %s",
       err.detail);

    free(pem);
    free(key_pem);
    free(leaf_pem);
}

int
main(void)
{
    CLEANUP(ca) struct ca  *ca = root_now("ec-p256", true);
    CLEANUP(x509) X509     *leaf = leaf_now(ca, "4fabcdef");

    test_believed("ec-p256", true, EVP_sha1());
    test_believed("ec-p256", false, EVP_sha256());
    test_believed("ec-p384", true, EVP_sha256());
    test_believed("ec-p384", false, EVP_sha1());
    test_believed("rsa-2048", true, EVP_sha1());
    test_believed("rsa-2048", false, EVP_sha1());
    test_believed("ed25519", true, EVP_sha1());
    test_believed("ed25519", false, EVP_sha1());

    test_nonces(ca, leaf);
    test_extensions(ca, leaf);
    test_many(ca, leaf);
    test_foreign(ca, leaf);
    test_odd_serials(ca, leaf);
    test_garbage(ca, leaf);
    test_troubles(ca, leaf);
    test_responder();

    return done_testing();
}
