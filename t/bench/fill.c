/*
 * Many certificates for a benchmark, the same ones twice: as records of a store
 * and as the files and servers of a static configuration.
 *
 *     fill -d folder -n count [-f files] [-u uid -g gid] [-b each -r sets]
 *
 * makes folder/ca.pem; folder/store, a certctl_store whose record s<i>.bench.test
 * holds the certificate for this name; folder/static/s<i>.pem, certificate and
 * key; and folder/static.conf, a server{} for each, listening on @LISTEN@.  With
 * -f only the first so many are files, too.  uid and gid are NGINX's workers'.
 * Nothing here waits for the disk: who fills a store this way may lose it.
 *
 * With -b neither is made, but bodies for POST certificates, each with so many
 * chains of leaf and CA, and keys: folder/bulk/<set>-<number>, and as many sets
 * as asked for, which hold other certificates for the same names.
 */

#include "store/store.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAYS  86400L

static struct {
    const char  *folder;
    long         count;
    long         files;
    long         each;
    long         sets;
    uid_t        uid;
    gid_t        gid;
} options = { .sets = 1, .files = LONG_MAX, .uid = (uid_t) -1, .gid = (gid_t) -1 };

struct pair {
    X509      *crt;
    EVP_PKEY  *key;
};


/* Stands before the C library's for the whole program. */
int
fsync(int fd)
{
    (void) fd;
    return 0;
}


int
fdatasync(int fd)
{
    (void) fd;
    return 0;
}


static bool
add_extension(X509 *crt, X509 *issuer, int nid, const char *value)
{
    bool             ok;
    X509V3_CTX       ctx;
    X509_EXTENSION  *ext;

    X509V3_set_ctx(&ctx, issuer, crt, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = ext != NULL && X509_add_ext(crt, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}


/* A certificate of P-256 for name, made by issuer or, without one, itself. */
static bool
make(const char *name, long serial, const struct pair *issuer, struct pair *ret)
{
    char        san[300];
    X509       *crt = X509_new(), *by = issuer ? issuer->crt : crt;
    EVP_PKEY   *key = EVP_EC_gen("P-256");
    X509_NAME  *subject;

    if (crt == NULL || key == NULL) {
        return false;
    }

    *ret = (struct pair) { crt, key };
    subject = X509_get_subject_name(crt);
    snprintf(san, sizeof(san), "DNS:%s", name);

    return X509_set_version(crt, X509_VERSION_3)
           && ASN1_INTEGER_set(X509_get_serialNumber(crt), serial)
           && X509_gmtime_adj(X509_getm_notBefore(crt), -3600)
           && X509_gmtime_adj(X509_getm_notAfter(crt), 90 * DAYS)
           && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                         (const unsigned char *) name,
                                         -1, -1, 0)
           && X509_set_issuer_name(crt, X509_get_subject_name(by))
           && X509_set_pubkey(crt, key)
           && add_extension(crt, by, NID_basic_constraints,
                            issuer ? "critical,CA:FALSE" : "critical,CA:TRUE")
           && add_extension(crt, by, NID_key_usage,
                            issuer ? "critical,digitalSignature"
                                   : "critical,keyCertSign,cRLSign")
           && add_extension(crt, by, NID_subject_key_identifier, "hash")
           && (issuer == NULL
               || (add_extension(crt, by, NID_subject_alt_name, san)
                   && add_extension(crt, by, NID_ext_key_usage, "serverAuth")
                   && add_extension(crt, by, NID_authority_key_identifier,
                                    "keyid")))
           && X509_sign(crt, issuer ? issuer->key : key, EVP_sha256()) > 0;
}


static void
end(struct pair *pair)
{
    X509_free(pair->crt);
    EVP_PKEY_free(pair->key);
}


static bool
store(certctl_store_t *to, const char *name, const struct pair *pair)
{
    int                  rc;
    unsigned char       *chain = NULL, *key = NULL;
    certctl_record_t     rec = { .kind = CERTCTL_KIND_ECDSA };
    PKCS8_PRIV_KEY_INFO  *p8 = EVP_PKEY2PKCS8(pair->key);

    snprintf(rec.name, sizeof(rec.name), "%s", name);
    rec.chain.len = i2d_X509(pair->crt, &chain);
    rec.chain.data = chain;
    rec.key.len = i2d_PKCS8_PRIV_KEY_INFO(p8, &key);
    rec.key.data = key;

    rc = certctl_store_put(to, &rec, NULL, NULL, NULL);

    OPENSSL_free(chain);
    OPENSSL_clear_free(key, rec.key.len);
    PKCS8_PRIV_KEY_INFO_free(p8);
    return rc == CERTCTL_STORE_OK;
}


static bool
write_pem(const char *path, const struct pair *pair, bool with_key)
{
    FILE  *out = fopen(path, "w");
    bool   ok;

    if (out == NULL) {
        return false;
    }

    ok = PEM_write_X509(out, pair->crt) == 1
         && (!with_key
             || PEM_write_PrivateKey(out, pair->key, NULL, NULL, 0, NULL, NULL)
                == 1);
    return fclose(out) == 0 && ok;
}


static bool
configure(FILE *conf, const char *name, const char *path)
{
    return fprintf(conf, "server {\n    listen @LISTEN@ ssl;\n"
                   "    server_name %s;\n    ssl_certificate %s;\n"
                   "    ssl_certificate_key %s;\n    return 200 \"x\\n\";\n}\n",
                   name, path, path)
           > 0;
}


static bool
fill(certctl_store_t *to, FILE *conf, const struct pair *ca)
{
    bool         ok = true;
    char         name[64], path[600];
    long         i;
    struct pair  one;

    for (i = 0; i < options.count && ok; i++) {
        snprintf(name, sizeof(name), "s%ld.bench.test", i);
        snprintf(path, sizeof(path), "%s/static/s%ld.pem", options.folder, i);

        ok = make(name, i + 2, ca, &one) && store(to, name, &one)
             && (i >= options.files
                 || (write_pem(path, &one, true)
                     && configure(conf, name, path)));
        end(&one);
    }

    return ok;
}


static bool
write_part(FILE *out, const char *name, const struct pair *pair,
    const struct pair *ca)
{
    return fprintf(out, "@%s keygen=server\n", name) > 0
           && PEM_write_X509(out, pair->crt) == 1
           && PEM_write_X509(out, ca->crt) == 1
           && PEM_write_PrivateKey(out, pair->key, NULL, NULL, 0, NULL, NULL)
              == 1;
}


/* The bodies of one set. */
static bool
write_bodies(long set, const struct pair *ca)
{
    bool         ok = true;
    char         name[64], path[600];
    long         i;
    FILE        *out = NULL;
    struct pair  one;

    for (i = 0; i < options.count && ok; i++) {
        one = (struct pair) { NULL, NULL };

        if (i % options.each == 0) {
            ok = out == NULL || fclose(out) == 0;
            snprintf(path, sizeof(path), "%s/bulk/%ld-%ld", options.folder,
                     set, i / options.each);
            out = fopen(path, "w");
        }

        snprintf(name, sizeof(name), "s%ld.bench.test", i);

        ok = ok && out != NULL
             && make(name, set * options.count + i + 2, ca, &one)
             && write_part(out, name, &one, ca);
        end(&one);
    }

    return (out == NULL || fclose(out) == 0) && ok;
}


static bool
write_bulk(void)
{
    bool         ok;
    char         path[600];
    long         set;
    struct pair  ca;

    snprintf(path, sizeof(path), "%s/bulk", options.folder);
    (void) mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/ca.pem", options.folder);
    ok = make("Bench CA", 1, NULL, &ca) && write_pem(path, &ca, false);

    for (set = 0; set < options.sets && ok; set++) {
        ok = write_bodies(set, &ca);
    }

    if (!ok) {
        perror("fill");
        ERR_print_errors_fp(stderr);
    }

    end(&ca);
    return ok;
}


static bool
run(void)
{
    bool              ok;
    char              path[600], why[256] = "";
    FILE             *conf;
    struct pair       ca;
    certctl_store_t  *to;

    snprintf(path, sizeof(path), "%s/static", options.folder);
    (void) mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/static.conf", options.folder);
    conf = fopen(path, "w");
    snprintf(path, sizeof(path), "%s/store", options.folder);
    to = certctl_store_open(path, 1, options.uid, options.gid, why,
                            sizeof(why));

    if (conf == NULL || to == NULL) {
        fprintf(stderr, "fill: %s: %s\n", path, why);
        return false;
    }

    snprintf(path, sizeof(path), "%s/ca.pem", options.folder);
    ok = make("Bench CA", 1, NULL, &ca) && write_pem(path, &ca, false)
         && fill(to, conf, &ca);

    if (!ok) {
        perror("fill");
        ERR_print_errors_fp(stderr);
    }

    end(&ca);
    certctl_store_close(to);
    return fclose(conf) == 0 && ok;
}


int
main(int argc, char **argv)
{
    int  c;

    while ((c = getopt(argc, argv, "d:n:f:b:r:u:g:")) != -1) {
        switch (c) {
        case 'd': options.folder = optarg; break;
        case 'n': options.count = strtol(optarg, NULL, 10); break;
        case 'f': options.files = strtol(optarg, NULL, 10); break;
        case 'b': options.each = strtol(optarg, NULL, 10); break;
        case 'r': options.sets = strtol(optarg, NULL, 10); break;
        case 'u': options.uid = (uid_t) strtol(optarg, NULL, 10); break;
        case 'g': options.gid = (gid_t) strtol(optarg, NULL, 10); break;
        default: options.folder = NULL;
        }
    }

    if (options.folder == NULL || options.count < 0 || options.each < 0) {
        fprintf(stderr, "usage: fill -d folder -n count [-f files] "
                "[-u uid -g gid] [-b each -r sets]\n");
        return 2;
    }

    return (options.each ? write_bulk() : run()) ? 0 : 1;
}
