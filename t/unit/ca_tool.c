/* Makes what t/10-ca.t shows to other implementations; without arguments, nothing. */
#include "ca_support.h"
#include "seal.h"
#include "tap.h"

#include <stdlib.h>
#include <time.h>

#define LIFE  (4 * 86400)

#define URL  "http://127.0.0.1:1/"

static void
fail(const char *what, const struct error *err)
{
    fprintf(stderr, "ca_tool: %s: %s\n", what, err ? err->detail : "");
    exit(1);
}

static void
write_file(const char *dir, const char *name, const void *data, size_t len)
{
    char   path[512];
    FILE  *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "wb");

    if (file == NULL || fwrite(data, 1, len, file) != len || fclose(file) != 0) {
        fail(path, NULL);
    }
}

static void
write_text(const char *dir, const char *name, char *text)
{
    if (text == NULL) {
        fail(name, NULL);
    }

    write_file(dir, name, text, strlen(text));
    free(text);
}

static void
write_crl(const char *dir, const char *name, const struct ca *ca,
    const struct ca_revoked *revoked, size_t n)
{
    struct error         err;
    unsigned char       *der;
    size_t               len;
    struct ca_crl_spec   spec = { 1, time(NULL) - 60, time(NULL) + DAY, revoked,
                                  n };

    if (!ca_crl(ca, &spec, &der, &len, &err)) {
        fail(name, &err);
    }

    write_file(dir, name, der, len);
    OPENSSL_free(der);
}

static void
write_ocsp(const char *dir, const char *name, const struct ca *ca,
    const char *serial, const struct ca_ocsp_status *status)
{
    struct error            err;
    struct ca_ocsp_answer   answer;

    if (!ca_ocsp_for(ca, serial, status, time(NULL), LIFE, &answer, &err)) {
        fail(name, &err);
    }

    write_file(dir, name, answer.der, answer.len);
    OPENSSL_free(answer.der);
}

static void
write_leaf(const char *dir, const char *name, const struct ca *ca,
    const char *key_type, const char *serial, const char *sans)
{
    struct error             err;
    CLEANUP(pkey) EVP_PKEY  *key = certctl_key_generate(key_type);
    CLEANUP(x509) X509      *cert = NULL;

    cert = ca_issue(ca, key, &(struct ca_profile) {
        .serial = serial, .sans = sans, .not_before = time(NULL) - 60,
        .not_after = time(NULL) + 90 * DAY, .eku = CA_EKU_SERVER_AUTH,
        .must_staple = true, .ocsp_url = URL "ocsp", .ca_issuers_url = URL "ca",
        .crl_url = URL "crl" }, &err);

    if (cert == NULL) {
        fail(name, &err);
    }

    write_text(dir, name, ca_x509_pem(cert, &err));
}

/* A root, a CA below it, a good and a revoked certificate, CRLs, OCSP. */
static int
make(const char *dir, const char *type)
{
    struct error             err;
    time_t                   now = time(NULL);
    CLEANUP(ca) struct ca   *root = NULL, *sub = NULL;
    const struct ca_revoked  revoked = { "22", now - 3600, 1 };

    root = ca_create(NULL, &(struct ca_spec) { .key_type = type,
        .common_name = "Tool Root", .not_before = now - DAY,
        .not_after = now + 3650 * DAY, .path_len = 1 }, &err);
    sub = root ? ca_create(root, &(struct ca_spec) { .key_type = type,
        .common_name = "Tool CA", .not_before = now - DAY,
        .not_after = now + 1000 * DAY, .path_len = 0, .crl_url = URL "root.crl",
        .signs_ocsp = true }, &err) : NULL;

    if (sub == NULL) {
        fail("CA", &err);
    }

    write_text(dir, "root.pem", ca_cert_pem(root, &err));
    write_text(dir, "sub.pem", ca_cert_pem(sub, &err));
    write_text(dir, "sub.key", ca_key_pem(sub, &err));
    write_leaf(dir, "good.pem", sub, type, "11",
               "DNS:a.example,IP:192.0.2.1,IP:2001:db8::1,URI:urn:x");
    write_leaf(dir, "revoked.pem", sub, type, "22", "DNS:b.example");
    write_crl(dir, "root.crl", root, NULL, 0);
    write_crl(dir, "sub.crl", sub, &revoked, 1);

    write_ocsp(dir, "direct-good.der", sub, "11",
               &(struct ca_ocsp_status) { .state = CA_OCSP_GOOD });

    if (!ca_responder_create(sub, "33", now, 30 * DAY, &err)) {
        fail("responder", &err);
    }

    write_text(dir, "responder.pem", ca_x509_pem(sub->responder, &err));
    write_text(dir, "responder.key", ca_pkey_pem(sub->responder_key, &err));
    write_ocsp(dir, "good.der", sub, "11",
               &(struct ca_ocsp_status) { .state = CA_OCSP_GOOD });
    write_ocsp(dir, "revoked.der", sub, "22", &(struct ca_ocsp_status) {
        CA_OCSP_REVOKED, now - 3600, 1 });

    return 0;
}

static char *
slurp(const char *dir, const char *name, size_t *len)
{
    char   path[512], *data = calloc(1, 65537);
    FILE  *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "rb");

    if (file == NULL || data == NULL) {
        fail(path, NULL);
    }

    *len = fread(data, 1, 65536, file);
    fclose(file);

    return data;
}

static bool
look_up(const struct ca *ca, const char *serial, struct ca_ocsp_status *ret,
    void *data, struct error *err)
{
    (void) ca, (void) data, (void) err;

    ret->state = strcmp(serial, "11") == 0 ? CA_OCSP_GOOD
                 : strcmp(serial, "22") == 0 ? CA_OCSP_REVOKED : CA_OCSP_UNKNOWN;
    ret->revoked_at = time(NULL) - 3600;
    ret->reason = 1;

    return true;
}

/* Answers a request that somebody else has made. */
static int
answer(const char *dir, const char *in, const char *out)
{
    struct error            err = { 0 };
    size_t                  len;
    struct ca_ocsp_answer   got;
    CLEANUP(mem) char      *cert = slurp(dir, "sub.pem", &len);
    CLEANUP(mem) char      *key = slurp(dir, "sub.key", &len);
    CLEANUP(mem) char      *signer = slurp(dir, "responder.pem", &len);
    CLEANUP(mem) char      *signer_key = slurp(dir, "responder.key", &len);
    CLEANUP(mem) char      *request = slurp(dir, in, &len);
    CLEANUP(ca) struct ca  *ca = ca_load(cert, key, time(NULL), &err);
    const struct ca        *cas[] = { ca, NULL };

    if (ca == NULL || !ca_responder_load(ca, signer, signer_key, time(NULL), &err)
        || !ca_ocsp_answer(cas, (unsigned char *) request, len, time(NULL), LIFE,
                           look_up, NULL, &got, &err))
    {
        fail("answer", &err);
    }

    write_file(dir, out, got.der, got.len);
    OPENSSL_free(got.der);

    return 0;
}

int
main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "make") == 0) {
        return make(argv[2], argv[3]);
    }

    if (argc == 5 && strcmp(argv[1], "answer") == 0) {
        return answer(argv[2], argv[3], argv[4]);
    }

    (void) tap_count, (void) tap_failed;
    printf("1..0 # SKIP a tool of t/10-ca.t: make DIR KEY_TYPE | "
           "answer DIR REQUEST RESPONSE\n");

    return 0;
}
