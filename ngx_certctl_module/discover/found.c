
/* A file with certificates, as a discovery answers it. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <grp.h>
#include <pwd.h>
#include "discover/discover.h"
#include "x509_chain.h"


/* The private key of one certificate. */

typedef struct {
    const char  *match;     /* "found", "mismatch", "unknown", "none" */
    const char  *name;      /* of its file, or NULL */
    mode_t       mode;
} ngx_http_certctl_pair_t;


/* As chmod takes it: "0640". */

static void
ngx_http_certctl_discover_mode(ngx_http_certctl_json_t *json, mode_t mode)
{
    u_char  text[4];

    text[0] = '0' + ((mode >> 9) & 7);
    text[1] = '0' + ((mode >> 6) & 7);
    text[2] = '0' + ((mode >> 3) & 7);
    text[3] = '0' + (mode & 7);

    ngx_http_certctl_json_string(json, "mode", text, sizeof(text));
}


static void
ngx_http_certctl_discover_owner(ngx_http_certctl_json_t *json,
    struct stat *st)
{
    char           buf[4096];
    struct group   gr, *group;
    struct passwd  pw, *owner;

    ngx_http_certctl_json_number(json, "uid", st->st_uid);

    if (getpwuid_r(st->st_uid, &pw, buf, sizeof(buf), &owner) == 0 && owner) {
        ngx_http_certctl_json_text(json, "owner", owner->pw_name);
    }

    ngx_http_certctl_json_number(json, "gid", st->st_gid);

    if (getgrgid_r(st->st_gid, &gr, buf, sizeof(buf), &group) == 0 && group) {
        ngx_http_certctl_json_text(json, "group", group->gr_name);
    }

    ngx_http_certctl_discover_mode(json, st->st_mode);
    ngx_http_certctl_json_time(json, "mtime", st->st_mtime);
}


/* What the certificate says of itself; whether it is a leaf. */

static ngx_uint_t
ngx_http_certctl_discover_cert(ngx_http_certctl_walk_t *walk, X509 *x509,
    ngx_uint_t index)
{
    char             *pem;
    u_char            digest[32];
    char              fingerprint[CERTCTL_HEX256];
    ngx_uint_t        leaf;
    STACK_OF(X509)   *one;

    (void) X509_digest(x509, EVP_sha256(), digest, NULL);
    certctl_hex(digest, sizeof(digest), fingerprint);

    leaf = !X509_check_ca(x509);

    ngx_http_certctl_json_number(walk->json, "index", index);
    ngx_http_certctl_json_flag(walk->json, "leaf", leaf);
    ngx_http_certctl_json_x509(walk->json, x509, fingerprint);

    one = sk_X509_new_null();
    pem = (one && sk_X509_push(one, x509)) ? certctl_chain_to_pem(one) : NULL;
    sk_X509_free(one);

    if (pem) {
        ngx_http_certctl_json_text(walk->json, "pem", pem);

    } else {
        walk->json->failed = 1;
    }

    OPENSSL_free(pem);

    return leaf;
}


/* The key in the certificate's own file. */

static void
ngx_http_certctl_discover_pair(ngx_http_certctl_pair_t *pair, X509 *x509,
    ngx_http_certctl_found_t *found, const char *name, struct stat *st)
{
    u_char      spki[32];
    ngx_uint_t  i;

    if (found->keys == 0 && !found->unknown) {
        return;
    }

    pair->name = name;
    pair->mode = st->st_mode;
    pair->match = found->unknown ? "unknown" : "mismatch";

    if (ngx_http_certctl_spki(X509_get0_pubkey(x509), spki) != NGX_OK) {
        pair->match = "unknown";
        return;
    }

    for (i = 0; i < found->keys; i++) {
        if (ngx_memcmp(found->spki[i], spki, 32) == 0) {
            pair->match = "found";
            return;
        }
    }
}


/* Whether key is named for the certificate: its stem, or privkey.pem. */

static ngx_uint_t
ngx_http_certctl_discover_stem(const char *name, const char *key)
{
    size_t       len;
    const char  *dot;

    dot = strrchr(name, '.');
    len = dot ? (size_t) (dot - name) : ngx_strlen(name);

    return ngx_strcmp(key, "privkey.pem") == 0
           || (ngx_strncmp(key, name, len) == 0
               && ngx_strcmp(key + len, ".key") == 0);
}


/*
 * A key beside it.  One that fits wins; one that cannot be read may fit; one
 * that does not is reported when its name says that it should.
 */

static void
ngx_http_certctl_discover_key_files(ngx_http_certctl_pair_t *pair, X509 *x509,
    const char *name, ngx_http_certctl_key_file_t *beside, ngx_uint_t n)
{
    u_char                      spki[32];
    ngx_uint_t                  i;
    ngx_http_certctl_key_file_t  *key;

    if (ngx_strcmp(pair->match, "found") == 0
        || ngx_http_certctl_spki(X509_get0_pubkey(x509), spki) != NGX_OK)
    {
        return;
    }

    for (i = 0; i < n; i++) {
        key = &beside[i];

        if (key->known && ngx_memcmp(key->spki, spki, 32) == 0) {
            pair->match = "found";
            pair->name = key->name;
            pair->mode = key->mode;
            return;
        }

        if (!key->known && ngx_strcmp(pair->match, "unknown") != 0) {
            pair->match = "unknown";
            pair->name = key->name;
            pair->mode = key->mode;

        } else if (key->known && ngx_strcmp(pair->match, "none") == 0
                   && ngx_http_certctl_discover_stem(name, key->name))
        {
            pair->match = "mismatch";
            pair->name = key->name;
            pair->mode = key->mode;
        }
    }
}


static void
ngx_http_certctl_discover_key(ngx_http_certctl_json_t *json,
    ngx_http_certctl_pair_t *pair)
{
    ngx_http_certctl_json_open(json, "key", '{');
    ngx_http_certctl_json_text(json, "match", pair->match);

    if (pair->name) {
        ngx_http_certctl_json_text(json, "file", pair->name);
        ngx_http_certctl_discover_mode(json, pair->mode);
    }

    ngx_http_certctl_json_close(json, '}');
    ngx_http_certctl_json_open(json, "warnings", '[');

    if (pair->name && (pair->mode & S_IROTH)) {
        ngx_http_certctl_json_text(json, NULL,
                                   "private key is readable by others");
    }

    ngx_http_certctl_json_close(json, ']');
}


void
ngx_http_certctl_discover_entry(ngx_http_certctl_walk_t *walk,
    const char *name, struct stat *st, ngx_http_certctl_found_t *found,
    ngx_http_certctl_key_file_t *beside, ngx_uint_t nbeside)
{
    int                       i;
    X509                     *x509;
    ngx_uint_t                leaf;
    ngx_http_certctl_json_t  *json;
    ngx_http_certctl_pair_t   pair;

    json = walk->json;

    ngx_http_certctl_json_open(json, NULL, '{');
    ngx_http_certctl_json_text(json, "path", walk->path);
    ngx_http_certctl_json_text(json, "format", found->format);
    ngx_http_certctl_discover_owner(json, st);
    ngx_http_certctl_json_open(json, "certificates", '[');

    for (i = 0; i < sk_X509_num(found->certs); i++) {

        if (walk->certs == NGX_HTTP_CERTCTL_WALK_CERTS) {
            walk->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_CERTIFICATES;
            break;
        }

        x509 = sk_X509_value(found->certs, i);
        walk->certs++;

        ngx_http_certctl_json_open(json, NULL, '{');
        leaf = ngx_http_certctl_discover_cert(walk, x509, i);

        pair.match = "none";
        pair.name = NULL;

        ngx_http_certctl_discover_pair(&pair, x509, found, name, st);
        ngx_http_certctl_discover_key_files(&pair, x509, name, beside, nbeside);

        /* beside a CA lie keys of others */

        if (!leaf && ngx_strcmp(pair.match, "found") != 0) {
            pair.match = "none";
            pair.name = NULL;
        }

        ngx_http_certctl_discover_key(json, &pair);
        ngx_http_certctl_json_close(json, '}');
    }

    ngx_http_certctl_json_close(json, ']');
    ngx_http_certctl_json_close(json, '}');
}
