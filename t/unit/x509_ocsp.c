/* x509_ocsp: which OCSP responses are believed, and which are stapled. */
#include "pki.h"
#include "tap.h"
#include "wire.h"
#include "x509_facts.h"
#include "x509_ocsp.h"
#include <openssl/ocsp.h>

static struct pki  root, middle, leaf, delegate;
static time_t      now;

/* How a responder answers; what is 0 is as it should be. */
struct answer {
    const struct pki  *about, *issuer, *signer;
    const EVP_MD      *id_md;
    long               this_update, next_update;   /* from now; next 0: absent */
    int                status, no_certs, error, two;
};

static int
answer(const struct answer *a, unsigned char **der)
{
    const struct pki  *signer = a->signer ? a->signer : &middle;
    OCSP_BASICRESP    *basic = OCSP_BASICRESP_new();
    OCSP_RESPONSE     *resp;
    OCSP_CERTID       *id;
    ASN1_TIME         *from = ASN1_TIME_adj(NULL, now, 0, a->this_update);
    ASN1_TIME         *to = ASN1_TIME_adj(NULL, now, 0, a->next_update);
    ASN1_TIME         *gone = ASN1_TIME_adj(NULL, now, 0, -500);
    int                len;

    if (a->two) {
        id = OCSP_cert_to_id(EVP_sha1(), delegate.cert, middle.cert);
        PKI_MUST(OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_REVOKED,
                                        0, gone, from, to));
        OCSP_CERTID_free(id);
    }

    id = OCSP_cert_to_id(a->id_md ? a->id_md : EVP_sha1(),
                         a->about ? a->about->cert : leaf.cert,
                         a->issuer ? a->issuer->cert : middle.cert);
    PKI_MUST(OCSP_basic_add1_status(basic, id, a->status, 1, gone, from,
                                    a->next_update ? to : NULL)
             && OCSP_basic_sign(basic, signer->cert, signer->key, EVP_sha256(),
                                NULL, a->no_certs ? OCSP_NOCERTS : 0));
    resp = OCSP_response_create(a->error, a->error ? NULL : basic);
    *der = NULL;
    len = i2d_OCSP_RESPONSE(resp, der);
    PKI_MUST(len > 0);

    OCSP_CERTID_free(id);
    OCSP_RESPONSE_free(resp);
    OCSP_BASICRESP_free(basic);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    ASN1_TIME_free(gone);
    return len;
}

static struct certctl_ocsp_info
judge(const struct answer *a, const char *rule, const char *what)
{
    struct certctl_ocsp_info   info = { .reason = 99 };
    unsigned char             *der;
    int                        len = answer(a, &der);
    const char                *why;

    why = certctl_ocsp_check(der, len, leaf.cert, middle.cert, now, &info);
    ok(rule ? why && strstr(why, rule) : why == NULL, "%s: %s", what,
       why ? why : "believed");
    ok(rule == NULL || info.reason == 99, "the result is %s",
       rule ? "left alone" : "filled");

    if (rule == NULL) {
        ok(certctl_ocsp_this_update(der, len) == info.this_update || a->two,
           "the quick walk finds the same thisUpdate");
        ok(certctl_ocsp_this_update(der, len / 2) == 0, "and none in half of it");
    }

    OPENSSL_free(der);
    return info;
}

#define A(...)  &(struct answer) { __VA_ARGS__ }

static void
believes(void)
{
    struct certctl_ocsp_info  info;

    info = judge(A(.next_update = 3600), NULL, "signed by the issuer");
    is_int(info.status, CERTCTL_OCSP_GOOD, "good");
    is_int(info.this_update, now, "from now");
    is_int(info.next_update, now + 3600, "for an hour");
    is_int(info.reason, -1, "without a reason");
    ok(certctl_ocsp_staple_check(&info, leaf.cert, now) == NULL,
       "and may be stapled");
    ok(certctl_ocsp_staple_check(&info, leaf.cert, now + 3600) != NULL,
       "until its nextUpdate");
    ok(certctl_ocsp_staple_check(&info, leaf.cert, now - DAY) != NULL,
       "nor before its thisUpdate, should the clock be set back");
    info.next_update = now + 3 * DAY;
    ok(certctl_ocsp_staple_check(&info, leaf.cert, now + DAY + 1) != NULL,
       "and not beyond the certificate's own end");

    info = judge(A(.next_update = 60, .signer = &delegate), NULL,
                 "signed by a delegate that it carries");
    judge(A(.next_update = 60, .id_md = EVP_sha256()), NULL, "SHA-256 CertID");
    info = judge(A(.next_update = 60, .two = 1), NULL,
                 "two answers, ours second");
    is_int(info.answers, 2, "both are counted");
    ok(certctl_ocsp_staple_check(&info, leaf.cert, now) != NULL,
       "and not stapled, as the other one would be stapled with it");
    judge(A(.next_update = 60, .no_certs = 1), NULL, "issuer, no certificates");
    info = judge(A(.this_update = -60), NULL, "no nextUpdate");
    is_int(info.next_update, now - 60 + CERTCTL_OCSP_DEFAULT_LIFE,
           "then it is good for the default");
    judge(A(.this_update = 290, .next_update = 3600), NULL,
          "a clock that is a little ahead");

    info = judge(A(.next_update = 60, .status = V_OCSP_CERTSTATUS_REVOKED),
                 NULL, "revoked is believed");
    is_int(info.status, CERTCTL_OCSP_REVOKED, "as revoked");
    is_int(info.revoked_at, now - 500, "with its time");
    is_int(info.reason, 1, "and reason");
    ok(certctl_ocsp_staple_check(&info, leaf.cert, now) != NULL,
       "but never stapled");
    info = judge(A(.next_update = 60, .status = V_OCSP_CERTSTATUS_UNKNOWN),
                 NULL, "unknown is believed");
    ok(certctl_ocsp_staple_check(&info, leaf.cert, now) != NULL,
       "but never stapled");
}

static void
doubts(void)
{
    struct pki  plain = PKI(&middle, .cn = "no responder");
    struct pki  alien = PKI(&root, .cn = "of the root", .ext = {
                            { NID_ext_key_usage, "OCSPSigning" } });
    struct pki  late = PKI(&middle, .cn = "late", .from = -9, .to = -1, .ext = {
                           { NID_ext_key_usage, "OCSPSigning" } });
    struct pki  liar = PKI(NULL, .cn = "Middle", .ca = 1);
    struct pki  other = PKI(&middle, .serial = 99);
    struct pki  twin = PKI(&root, .cn = "Middle", .ca = 1);

    judge(A(.next_update = 60, .signer = &plain), "not signed by",
          "a certificate of the same CA that may not sign OCSP");
    judge(A(.next_update = 60, .signer = &alien), "not signed by",
          "a responder of another CA");
    judge(A(.next_update = 60, .signer = &root), "not signed by",
          "the root, which is not the issuer");
    judge(A(.next_update = 60, .signer = &late), "not signed by",
          "a delegate that has expired");
    judge(A(.next_update = 60, .signer = &liar), "not signed by",
          "one that calls itself like the issuer");
    judge(A(.next_update = 60, .signer = &delegate, .no_certs = 1),
          "not signed by", "a delegate that is not sent along");
    judge(A(.next_update = 60, .about = &other), "another certificate",
          "another serial number");
    judge(A(.next_update = 60, .issuer = &twin), "another certificate",
          "an issuer of the same name with another key");
    judge(A(.error = OCSP_RESPONSE_STATUS_MALFORMEDREQUEST),
          "malformedRequest: ", "malformedRequest");
    judge(A(.error = OCSP_RESPONSE_STATUS_INTERNALERROR), "internalError: ",
          "internalError");
    judge(A(.error = OCSP_RESPONSE_STATUS_TRYLATER), "tryLater: ", "tryLater");
    judge(A(.error = OCSP_RESPONSE_STATUS_SIGREQUIRED), "sigRequired: ",
          "sigRequired");
    judge(A(.error = OCSP_RESPONSE_STATUS_UNAUTHORIZED), "unauthorized: ",
          "unauthorized");
    judge(A(.error = 4), "unknown responseStatus", "an error of no RFC");
    judge(A(.this_update = -60, .next_update = -1), "is past", "a stale one");
    judge(A(.this_update = -CERTCTL_OCSP_DEFAULT_LIFE - 1), "is past",
          "no nextUpdate, and old");
    judge(A(.this_update = 400, .next_update = 3600), "future",
          "one from the future");
    judge(A(.this_update = 60, .next_update = 30), "not after thisUpdate",
          "times the wrong way round");

    pki_free(&plain);
    pki_free(&alien);
    pki_free(&late);
    pki_free(&liar);
    pki_free(&other);
    pki_free(&twin);
}

static void
survives_bad_bytes(void)
{
    struct certctl_ocsp_info   info;
    unsigned char             *der, *big = calloc(1, CERTCTL_OCSP_MAX + 1);
    int                        len = answer(A(.next_update = 60,
                                              .signer = &delegate), &der);
    int                        believed = 0;
    const char                *why;

    for (int i = 0; i < len; i++) {
        believed += certctl_ocsp_check(der, i, leaf.cert, middle.cert, now,
                                       &info) == NULL;
    }
    is_int(believed, 0, "cut off at every byte: refused");

    for (int i = 0; i < len; i += 3) {
        der[i] ^= 0x10;
        (void) certctl_ocsp_check(der, len, leaf.cert, middle.cert, now, &info);
        der[i] ^= 0x10;
    }
    ok(1, "flipped at every third byte");

    memcpy(big, der, len);
    why = certctl_ocsp_check(big, len + 1, leaf.cert, middle.cert, now, &info);
    ok(why && strstr(why, "DER"), "a byte behind it: %s", why);
    why = certctl_ocsp_check(big, CERTCTL_OCSP_MAX + 1, leaf.cert, middle.cert,
                             now, &info);
    ok(why && strstr(why, "longer"), "too long: %s", why);

    free(big);
    OPENSSL_free(der);
}

static void
asks(void)
{
    unsigned char        *der;
    const unsigned char  *p;
    int                   len = certctl_ocsp_request(leaf.cert, middle.cert,
                                                     &der);
    OCSP_REQUEST         *req;
    OCSP_CERTID          *id;

    p = der;
    req = d2i_OCSP_REQUEST(NULL, &p, len);
    ok(req && p == der + len, "a request is DER");
    is_int(OCSP_request_onereq_count(req), 1, "for one certificate");
    id = OCSP_cert_to_id(EVP_sha1(), leaf.cert, middle.cert);
    ok(OCSP_id_cmp(id, OCSP_onereq_get0_id(OCSP_request_onereq_get0(req, 0)))
       == 0, "by SHA-1 CertID (RFC 5019 2.1.1)");
    is_int(OCSP_REQUEST_get_ext_count(req), 0, "without a nonce");

    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(req);
    OPENSSL_free(der);
}

int
main(void)
{
    now = time(NULL);
    root = PKI(NULL, .cn = "Root", .ca = 1);
    middle = PKI(&root, .cn = "Middle", .ca = 1);
    leaf = PKI(&middle, .sans = "DNS:a.example", .serial = 77);
    delegate = PKI(&middle, .cn = "Responder", .serial = 78, .ext = {
        { NID_ext_key_usage, "OCSPSigning" } });

    believes();
    doubts();
    survives_bad_bytes();
    asks();
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");

    pki_free(&root);
    pki_free(&middle);
    pki_free(&leaf);
    pki_free(&delegate);
    return done_testing();
}
