
/* A file with certificates, in the answer of a discovery. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <grp.h>
#include <pwd.h>
#include "discover/discover.h"


/* How a key fits a certificate: of several the best is reported. */

typedef enum {
    NGX_HTTP_CERTCTL_KEY_NONE = 0,
    NGX_HTTP_CERTCTL_KEY_MISMATCH,
    NGX_HTTP_CERTCTL_KEY_UNKNOWN,
    NGX_HTTP_CERTCTL_KEY_FOUND
} ngx_http_certctl_key_match_e;

static const char  *ngx_http_certctl_key_match_text[] = {
    "none", "mismatch", "unknown", "found"
};


/* As chmod takes it: "0640". */

static void
ngx_http_certctl_file_mode(ngx_http_certctl_json_t *json, mode_t mode)
{
    u_char      text[4];
    ngx_uint_t  i;

    for (i = 0; i < 4; i++) {
        text[i] = '0' + ((mode >> (9 - 3 * i)) & 7);
    }

    ngx_http_certctl_json_string(json, "mode", text, sizeof(text));
}


static void
ngx_http_certctl_file_owner(ngx_http_certctl_json_t *json,
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

    ngx_http_certctl_file_mode(json, st->st_mode);
    ngx_http_certctl_json_time(json, "mtime", st->st_mtime);
}


/* Whether key is named for the certificate: its stem, or privkey.pem. */

static ngx_uint_t
ngx_http_certctl_key_is_named(const char *name, const char *key)
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
 * Of n keys the first that fits better than match; spki is NULL for a
 * certificate whose key OpenSSL does not know.  One that does not fit is
 * reported when it is in the certificate's file, or its name says that it
 * should.
 */

static ngx_http_certctl_key_t *
ngx_http_certctl_key_best(ngx_http_certctl_key_t *best,
    ngx_http_certctl_key_match_e *match, ngx_http_certctl_key_t *key,
    ngx_uint_t n, const u_char *spki, const char *name)
{
    ngx_uint_t                    i;
    ngx_http_certctl_key_match_e  fit;

    for (i = 0; i < n; i++) {

        if (!key[i].known || spki == NULL) {
            fit = NGX_HTTP_CERTCTL_KEY_UNKNOWN;

        } else if (ngx_memcmp(key[i].spki, spki, 32) == 0) {
            fit = NGX_HTTP_CERTCTL_KEY_FOUND;

        } else {
            fit = key[i].name == name
                  || ngx_http_certctl_key_is_named(name, key[i].name)
                  ? NGX_HTTP_CERTCTL_KEY_MISMATCH : NGX_HTTP_CERTCTL_KEY_NONE;
        }

        if (fit > *match) {
            *match = fit;
            best = &key[i];
        }
    }

    return best;
}


/* "key" and "warnings" of a certificate; key is NULL for none. */

static void
ngx_http_certctl_key_json(ngx_http_certctl_json_t *json,
    ngx_http_certctl_key_match_e match, ngx_http_certctl_key_t *key)
{
    ngx_http_certctl_json_open(json, "key", '{');
    ngx_http_certctl_json_text(json, "match",
                               ngx_http_certctl_key_match_text[match]);

    if (key) {
        ngx_http_certctl_json_text(json, "file", key->name);
        ngx_http_certctl_file_mode(json, key->mode);
    }

    ngx_http_certctl_json_close(json, '}');
    ngx_http_certctl_json_open(json, "warnings", '[');

    if (key && (key->mode & S_IROTH)) {
        ngx_http_certctl_json_text(json, NULL,
                                   "private key is readable by others");
    }

    ngx_http_certctl_json_close(json, ']');
}


static void
ngx_http_certctl_file_cert(ngx_http_certctl_json_t *json, X509 *x509,
    ngx_http_certctl_file_t *file, ngx_http_certctl_key_t *beside,
    ngx_uint_t nbeside)
{
    char                           fingerprint[CERTCTL_HEX256];
    u_char                         digest[32], spki[32];
    ngx_uint_t                     leaf;
    ngx_http_certctl_key_t        *key;
    ngx_http_certctl_key_match_e   match;

    (void) X509_digest(x509, EVP_sha256(), digest, NULL);
    certctl_hex(digest, sizeof(digest), fingerprint);

    leaf = !X509_check_ca(x509);

    ngx_http_certctl_json_flag(json, "leaf", leaf);
    ngx_http_certctl_json_x509(json, x509, fingerprint);
    ngx_http_certctl_json_pem(json, x509, NULL);

    match = NGX_HTTP_CERTCTL_KEY_NONE;

    if (ngx_http_certctl_spki(X509_get0_pubkey(x509), spki) == NGX_OK) {
        key = ngx_http_certctl_key_best(NULL, &match, file->key, file->keys,
                                        spki, file->name);
        key = ngx_http_certctl_key_best(key, &match, beside, nbeside, spki,
                                        file->name);

    } else {
        key = ngx_http_certctl_key_best(NULL, &match, file->key, file->keys,
                                        NULL, file->name);
    }

    /* beside a CA there are keys of others */

    if (!leaf && match != NGX_HTTP_CERTCTL_KEY_FOUND) {
        match = NGX_HTTP_CERTCTL_KEY_NONE;
        key = NULL;
    }

    ngx_http_certctl_key_json(json, match, key);
}


void
ngx_http_certctl_file_json(ngx_http_certctl_scan_t *scan,
    ngx_http_certctl_file_t *file, ngx_http_certctl_key_t *beside,
    ngx_uint_t nbeside)
{
    int                       i;
    ngx_http_certctl_json_t  *json;

    json = scan->json;

    ngx_http_certctl_json_open(json, NULL, '{');
    ngx_http_certctl_json_text(json, "path", scan->path);
    ngx_http_certctl_json_text(json, "format", file->format);
    ngx_http_certctl_file_owner(json, &file->st);
    ngx_http_certctl_json_open(json, "certificates", '[');

    for (i = 0; i < sk_X509_num(file->certs); i++) {

        if (scan->certs == NGX_HTTP_CERTCTL_SCAN_CERTS) {
            scan->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_CERTIFICATES;
            break;
        }

        scan->certs++;

        ngx_http_certctl_json_open(json, NULL, '{');
        ngx_http_certctl_json_number(json, "index", i);
        ngx_http_certctl_file_cert(json, sk_X509_value(file->certs, i), file,
                                   beside, nbeside);
        ngx_http_certctl_json_close(json, '}');
    }

    ngx_http_certctl_json_close(json, ']');
    ngx_http_certctl_json_close(json, '}');
}
