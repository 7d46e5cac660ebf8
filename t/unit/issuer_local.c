/* The local CA as an issuer: made once and kept, or from files; retries agree. */
#include "local.h"
#include "seal.h"
#include "tap.h"
#include "x509_chain.h"
#include "x509_info.h"
#include "x509_key.h"
#include "x509_ocsp.h"

#include <stdlib.h>
#include <unistd.h>

#define DAY     86400
#define SERIAL  "4fedcba9876543210fedcba98765432100000001"

CLEANUP_FUNC(json, json_t *, json_decref)

static char *
csr_text(EVP_PKEY *key, const char *sans)
{
    const char  *why;
    X509_REQ    *csr = certctl_csr_build(key, sans, false, &why);
    char        *pem = certctl_csr_to_pem(csr);

    X509_REQ_free(csr);

    return pem;
}

static void
write_file(const char *path, char *text)
{
    FILE  *file = fopen(path, "w");

    fputs(text, file);
    fclose(file);
    free(text);
}

static void
test_registry(void)
{
    static const char *const  names[] = {
        "local", "LOCAL", "GenericCA", "genericca", "local_ca", "internal"
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ok(issuer_find(names[i]) == &issuer_local, "\"%s\" is found", names[i]);
    }

    ok(issuer_find("loca") == NULL && issuer_find("") == NULL, "others are not");
}

static void
test_prepare(json_t *config)
{
    struct error           err = { 0 };
    CLEANUP(mem) char     *first = NULL, *again = NULL;

    ok(issuer_local.prepare(config, &err), "an empty configuration is enough: %s",
       err.detail);
    ok(json_is_string(json_object_get(config, "ca_cert_pem"))
       && json_is_string(json_object_get(config, "ocsp_responder_pem")),
       "it gains a root and an OCSP responder");

    for (const struct field *f = issuer_local.kind.fields; f->name; f++) {
        const char  *text = json_string_value(json_object_get(config, f->name));

        ok(!text || !strstr(text, "PRIVATE KEY") == !(f->flags & F_SECRET),
           "%s is %s", f->name, f->flags & F_SECRET ? "a secret" : "none");
    }

    first = json_dumps(config, JSON_SORT_KEYS);
    ok(issuer_local.prepare(config, &err), "once more: %s", err.detail);
    again = json_dumps(config, JSON_SORT_KEYS);
    is_str(again, first, "changes nothing");
}

/* The first step of an order, and what it has returned. */
static bool
step(const json_t *config, const struct issuer_request *req,
    struct issuer_step *ret)
{
    const struct issuer_context  ctx = { .config = config, .now = time(NULL) };

    issuer_local.step(&ctx, NULL, req, ret);

    return ret->outcome == ISSUER_ISSUED;
}

static void
test_issue(json_t *config)
{
    CLEANUP(pkey) EVP_PKEY             *key = certctl_key_generate("ec-p256");
    CLEANUP(ossl_mem) char             *csr = csr_text(key, "DNS:wrong.example");
    struct issuer_step                  result = { 0 }, again = { 0 };
    struct certctl_x509_info            info, info2;
    time_t                              now = time(NULL);
    const char                         *why;
    STACK_OF(X509)                     *chain, *chain2;
    char                                url[200];
    struct issuer_request               req = {
        .csr_pem = csr, .sans = "DNS:a.example,IP:192.0.2.1", .serial = SERIAL,
        .not_before = now - 300, .not_after = now + 47 * DAY, .must_staple = true
    };

    json_object_set_new(config, "ocsp_url", json_string("http://p.example/ocsp"));

    ok(step(config, &req, &result) && result.state == NULL,
       "issued in one step: %s", result.err.detail);
    chain = certctl_chain_from_pem(result.chain_pem, strlen(result.chain_pem),
                                   &why);
    is_int(sk_X509_num(chain), 2, "the certificate and the CA");
    why = certctl_chain_check(chain, key, now);
    ok(why == NULL, "it can be served: %s", why ? why : "");
    why = certctl_chain_names_equal(chain, req.sans);
    ok(why == NULL, "names of the order, not of the request: %s", why ? why : "");

    certctl_x509_info(sk_X509_value(chain, 0), &info);
    is_str(info.serial, SERIAL, "the serial that was stored");
    ok(info.not_before == now - 300 && info.not_after == now + 47 * DAY
       && info.must_staple, "validity and must-staple of the order");
    certctl_x509_ocsp_url(sk_X509_value(chain, 0), url, sizeof(url));
    is_str(url, "http://p.example/ocsp", "where to ask OCSP");

    ok(step(config, &req, &again), "a retry");
    chain2 = certctl_chain_from_pem(again.chain_pem, strlen(again.chain_pem), &why);
    certctl_x509_info(sk_X509_value(chain2, 0), &info2);
    ok(strcmp(info.serial, info2.serial) == 0 && info.not_after == info2.not_after
       && info.not_before == info2.not_before && strcmp(info.spki, info2.spki) == 0,
       "gives the same serial, validity and key");

    req.not_after = 0;
    issuer_step_free(&again);
    step(config, &req, &again);
    x509_chain_free(chain2);
    chain2 = certctl_chain_from_pem(again.chain_pem, strlen(again.chain_pem), &why);
    certctl_x509_info(sk_X509_value(chain2, 0), &info2);
    is_int(info2.not_after - info2.not_before, 90 * DAY, "90 days when not said");

    x509_chain_free(chain);
    x509_chain_free(chain2);
    issuer_step_free(&result);
    issuer_step_free(&again);
    ok(result.chain_pem == NULL, "a result is freed once");

    req.serial = NULL;
    ok(!step(config, &req, &result) && result.fault == ISSUER_PERMANENT
       && result.chain_pem == NULL && strstr(result.err.detail, "4.1.2.2"),
       "refused: %s", result.err.detail);
    req.serial = SERIAL;
    req.csr_pem = "nonsense";
    ok(!step(config, &req, &result) && result.fault == ISSUER_PERMANENT
       && strstr(result.err.detail, "certification request"), "refused: %s",
       result.err.detail);
    issuer_step_free(&result);
}

static void
test_ocsp(json_t *config)
{
    struct error               err = { 0 };
    struct issuer_context      ctx = { .config = config, .now = time(NULL) };
    struct issuer_certificate  cert = { "", SERIAL };
    CLEANUP(ca) struct ca     *ca = local_ca(config, time(NULL), &err);
    CLEANUP(pkey) EVP_PKEY    *key = certctl_key_generate("ec-p256");
    CLEANUP(x509) X509        *leaf = NULL;
    struct certctl_ocsp_info   info;
    struct ca_profile          profile = {
        .serial = SERIAL, .sans = "DNS:a.example", .not_before = time(NULL) - 60,
        .not_after = time(NULL) + DAY };
    unsigned char             *der = NULL, *out = NULL;
    size_t                     out_len;
    int                        len;
    const char                *why;

    leaf = ca_issue(ca, key, &profile, &err);
    len = i2d_X509(leaf, &der);
    ok(ca->responder, "the responder is at hand");

    ok(issuer_local.ocsp(config, der, len, 0, 0, &out, &out_len, &err),
       "an OCSP response: %s", err.detail);
    why = certctl_ocsp_check(out, out_len, leaf, ca->cert, time(NULL), &info);
    ok(why == NULL && info.status == CERTCTL_OCSP_GOOD
       && certctl_ocsp_staple_check(&info, leaf, time(NULL)) == NULL,
       "that can be stapled: %s", why ? why : "");
    OPENSSL_free(out);

    issuer_local.ocsp(config, der, len, time(NULL) - 10, 1, &out, &out_len, &err);
    why = certctl_ocsp_check(out, out_len, leaf, ca->cert, time(NULL), &info);
    ok(why == NULL && info.status == CERTCTL_OCSP_REVOKED && info.reason == 1,
       "revoked: %s", why ? why : "");
    OPENSSL_free(out);
    OPENSSL_free(der);

    der = NULL;
    len = i2d_X509(ca->responder, &der);
    der[len - 1] ^= 1;
    ok(!issuer_local.ocsp(config, der, len, 0, 0, &out, &out_len, &err)
       && strstr(err.detail, "not issued by this CA"), "refused: %s", err.detail);
    OPENSSL_free(der);

    ok(issuer_local.revoke(&ctx, &cert, 4, &err)
       && !issuer_local.revoke(&ctx, &cert, 7, &err), "refused: %s", err.detail);
}

static void
test_chain(json_t *config)
{
    struct error                 err = { 0 };
    CLEANUP(json) json_t        *report = json_array(), *none = json_object();
    CLEANUP(mem) char           *pem = NULL;
    struct issuer_context        ctx = { .config = config, .now = time(NULL) };

    ok(issuer_local.chain(&ctx, &pem, &err) && strstr(pem, "BEGIN CERTIFICATE"),
       "the CA's certificate: %s", err.detail);
    ok(issuer_local.test(&ctx, report, &err) && json_array_size(report) == 3,
       "its test: %s", err.detail);
    ctx.config = none;
    ok(!issuer_local.test(&ctx, report, &err) && json_array_size(report) == 4
       && json_is_false(json_object_get(json_array_get(report, 3), "ok")),
       "fails without a key: %s", err.detail);
}

/* A responder near its end is replaced; one that is gone does no harm. */
static void
test_rotation(json_t *config)
{
    struct error            err = { 0 };
    time_t                  now = time(NULL);
    CLEANUP(mem) char      *before = strdup(json_string_value(
                                json_object_get(config, "ocsp_responder_pem")));
    CLEANUP(ca) struct ca  *late = NULL, *early = NULL;
    char                   *pem, *key;

    ok(!local_prepare_due(config, now) && !local_prepare_due(config, now + 17 * DAY)
       && local_prepare_due(config, now + 19 * DAY),
       "a responder of 30 days is due 12 days before its end");

    late = local_ca(config, now + 31 * DAY, &err);
    ok(late && late->responder == NULL, "without a good responder the CA signs");

    early = local_ca(config, now, &err);
    ca_responder_create(early, "77", now, 5 * DAY, &err);
    pem = ca_x509_pem(early->responder, &err);
    key = ca_pkey_pem(early->responder_key, &err);
    json_object_set_new(config, "ocsp_responder_pem", json_string(pem));
    json_object_set_new(config, "ocsp_responder_key_pem", json_string(key));
    ok(issuer_local.prepare(config, &err)
       && strcmp(pem, json_string_value(json_object_get(config,
                          "ocsp_responder_pem"))) != 0
       && strcmp(before, json_string_value(json_object_get(config,
                             "ocsp_responder_pem"))) != 0,
       "prepare() makes the next: %s", err.detail);
    free(pem);
    seal_wipe(key);
}

/* Half of the life over, and all of it: the same key, what it signed stays good. */
static void
test_root_renewed(void)
{
    static const int  ages[] = { 1800, 1830, 4000 };

    for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
        struct error            err = { 0 };
        time_t                  now = time(NULL), half = 0;
        CLEANUP(json) json_t   *config = json_object();
        CLEANUP(ca) struct ca  *first = NULL, *next = NULL;
        CLEANUP(mem) char      *cert = NULL;
        bool                    due = i > 0;

        issuer_local.prepare(config, &err);
        first = local_ca(config, now, &err);
        ca_root_renew(first, now - ages[i] * (time_t) DAY,
                      now + (3650 - ages[i]) * (time_t) DAY, &err);
        cert = ca_cert_pem(first, &err);
        json_object_set_new(config, "ca_cert_pem", json_string(cert));

        ok(local_prepare_due(config, now) == due, "a root of 3650 days, %d old: %s",
           ages[i], due ? "due" : "not due");
        ok(issuer_local.prepare(config, &err), "prepare(): %s", err.detail);
        next = local_ca(config, now, &err);
        ok(next && !X509_cmp(next->cert, first->cert) == !due
           && EVP_PKEY_eq(next->key, first->key) == 1
           && X509_NAME_cmp(X509_get_subject_name(next->cert),
                            X509_get_subject_name(first->cert)) == 0
           && X509_verify(next->cert, first->key) == 1,
           "%s, for the same key and name", due ? "another certificate" : "the same");
        ok(!due || (ca_half_life(json_string_value(json_object_get(config,
                                     "ca_cert_pem")), &half, &err)
                    && half > now + 1824 * (time_t) DAY), "for as long again");
        ok(next && next->responder, "its OCSP responder is good as before");
    }
}

/* A chain that ends before its authority, above it, does not end after. */
static void
test_ends_with_chain(void)
{
    struct error            err = { 0 };
    time_t                  now = time(NULL), from, to;
    CLEANUP(ca) struct ca  *root = NULL, *sub = NULL, *low = NULL;
    EVP_PKEY               *key = certctl_key_generate("ec-p256");
    X509                   *cert;

    root = ca_create(NULL, &(struct ca_spec) { .common_name = "R",
        .not_before = now - 60, .not_after = now + 9 * DAY,
        .path_len = CA_PATH_LEN_ANY }, &err);
    sub = ca_create(root, &(struct ca_spec) { .common_name = "S",
        .not_before = now - 60, .not_after = now + 9 * DAY, .path_len = 1 }, &err);
    ca_root_renew(root, now - 60, now + 5 * DAY, &err);
    X509_free(sk_X509_shift(sub->above));
    X509_up_ref(root->cert);
    sk_X509_unshift(sub->above, root->cert);

    ok(ca_validity(sub, &from, &to, &err) && to == now + 5 * DAY,
       "the root above it ends first");
    cert = ca_issue(sub, key, &(struct ca_profile) { .serial = SERIAL,
        .sans = "DNS:a.example", .not_before = now, .not_after = now + 8 * DAY,
        .eku = CA_EKU_SERVER_AUTH }, &err);
    ok(cert && ASN1_TIME_cmp_time_t(X509_get0_notAfter(cert), now + 5 * DAY) == 0,
       "so does a certificate: %s", err.detail);
    X509_free(cert);

    low = ca_create(sub, &(struct ca_spec) { .common_name = "L",
        .not_before = now, .not_after = now + 8 * DAY, .path_len = 0 }, &err);
    ok(low && ASN1_TIME_cmp_time_t(X509_get0_notAfter(low->cert), now + 5 * DAY) == 0,
       "and a CA below: %s", err.detail);

    ok(ca_responder_create(sub, "77", now, 30 * DAY, &err)
       && ASN1_TIME_cmp_time_t(X509_get0_notAfter(sub->responder), now + 5 * DAY) == 0,
       "and an OCSP responder");
    EVP_PKEY_free(key);
}

static void
test_files(void)
{
    struct error            err = { 0 };
    char                    dir[] = "/tmp/certctl-XXXXXX", cert[64], key[64];
    CLEANUP(ca) struct ca  *root = NULL, *sub = NULL, *loaded = NULL;
    time_t                  now = time(NULL);
    json_t                 *config;

    ok(mkdtemp(dir) != NULL, "a folder");
    snprintf(cert, sizeof(cert), "%s/ca.pem", dir);
    snprintf(key, sizeof(key), "%s/ca.key", dir);

    root = ca_create(NULL, &(struct ca_spec) { .common_name = "R",
        .not_before = now - 60, .not_after = now + DAY, .path_len = 1 }, &err);
    sub = ca_create(root, &(struct ca_spec) { .common_name = "S",
        .not_before = now - 60, .not_after = now + DAY, .path_len = 0 }, &err);
    write_file(cert, ca_cert_pem(sub, &err));
    write_file(key, ca_key_pem(sub, &err));

    config = json_pack("{s:s, s:s}", "ca_cert_path", cert, "ca_key_path", key);
    ok(issuer_local.prepare(config, &err) && !json_object_get(config, "ca_key_pem"),
       "a CA from files, its key stays there: %s", err.detail);
    loaded = local_ca(config, now, &err);
    ok(loaded && X509_cmp(loaded->cert, sub->cert) == 0 && loaded->responder,
       "is the one that signs");
    json_decref(config);

    config = json_pack("{s:s, s:s}", "ca_cert_path", cert, "ca_key_path", cert);
    ok(!issuer_local.prepare(config, &err), "refused: %s", err.detail);
    json_decref(config);

    config = json_pack("{s:s, s:s}", "ca_cert_path", dir, "ca_key_path", key);
    ok(!issuer_local.prepare(config, &err) && strstr(err.detail, "not a file"),
       "refused: %s", err.detail);
    json_decref(config);

    unlink(key);
    config = json_pack("{s:s, s:s}", "ca_cert_path", cert, "ca_key_path", key);
    ok(!issuer_local.prepare(config, &err) && strstr(err.detail, "No such file"),
       "refused: %s", err.detail);
    json_decref(config);

    unlink(cert);
    rmdir(dir);
}

/* As whoever stores a configuration does: its fields, then what they are together. */
static bool
accepted(json_t *config, struct error *err)
{
    json_t  *faults = json_array();
    bool     good = field_check_member("config", issuer_local.kind.fields, config, NULL,
                                       FIELD_STORED, faults)
                    || field_error(faults, err);

    json_decref(faults);

    return good && issuer_local.prepare(config, err);
}

static void
test_refusals(void)
{
    static const struct { const char *config, *rule; } bad[] = {
        { "{\"key_type\": \"rsa-512\"}", "key_type" },
        { "{\"validity_days\": 0}", "validity_days" },
        { "{\"validity_days\": 4000}", "3650" },
        { "{\"ca_validity_days\": 29}", "ca_validity_days" },
        { "{\"ocsp_life_seconds\": 60}", "ocsp_life_seconds" },
        { "{\"ocsp_life_seconds\": \"1d\"}", "ocsp_life_seconds" },
        { "{\"ocsp_url\": \"ldap://x\"}", "ocsp_url" },
        { "{\"crl_url\": \"http://x y\"}", "crl_url" },
        { "{\"ca_cert_path\": \"/x\"}", "go together" },
        { "{\"ca_key_path\": \"/x\"}", "go together" },
        { "{\"ca_cert_pem\": \"x\"}", "ca_cert_path" },
        { "{\"ca_cert_pem\": \"x\", \"ca_key_pem\": \"y\"}", "CA certificate" },
        { "{\"ca_common_name\": \"123456789012345678901234567890123456789012345"
          "67890123456789012345\"}", "64 bytes" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error  err = { 0 };
        json_t       *config = json_loads(bad[i].config, 0, NULL);
        json_t       *before = json_deep_copy(config);

        ok(config && !accepted(config, &err) && err.code == ERR_INVALID
           && strncmp(err.pointer, "/config/", 8 * (i < 11 || i == 12)) == 0
           && strstr(err.detail, bad[i].rule) && json_equal(config, before),
           "refused, nothing changed: %s", err.detail);
        json_decref(config);
        json_decref(before);
    }
}

int
main(void)
{
    CLEANUP(json) json_t  *config = json_object();

    test_registry();
    test_prepare(config);
    test_issue(config);
    test_ocsp(config);
    test_chain(config);
    test_rotation(config);
    test_root_renewed();
    test_ends_with_chain();
    test_files();
    test_refusals();

    return done_testing();
}
