
/* A file with certificates, in the answer of a discovery. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <grp.h>
#include <pwd.h>
#include "discover/discover.h"


/* How well a key fits a certificate: of several the best is reported. */

typedef enum {
    NGX_HTTP_CERTCTL_KEY_NONE = 0,
    NGX_HTTP_CERTCTL_KEY_MISMATCH,
    NGX_HTTP_CERTCTL_KEY_UNKNOWN,
    NGX_HTTP_CERTCTL_KEY_FOUND
} ngx_http_certctl_key_match_e;

static const char  *ngx_http_certctl_key_match_text[] = {
    "none", "mismatch", "unknown", "found"
};


/* The private key of one certificate. */

typedef struct {
    ngx_http_certctl_key_match_e  match;
    const char                   *name;     /* of its file, unless NONE */
    mode_t                        mode;
} ngx_http_certctl_key_t;


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


static void
ngx_http_certctl_key_better(ngx_http_certctl_key_t *key,
    ngx_http_certctl_key_match_e match, const char *name, mode_t mode)
{
    if (match > key->match) {
        key->match = match;
        key->name = name;
        key->mode = mode;
    }
}


/* The keys in the certificate's own file; spki is NULL for a key that OpenSSL
   does not know. */

static void
ngx_http_certctl_key_inside(ngx_http_certctl_key_t *key, const u_char *spki,
    ngx_http_certctl_file_t *file)
{
    ngx_uint_t                    i;
    ngx_http_certctl_key_match_e  match;

    for (i = 0; i < file->keys + file->unknown; i++) {

        match = (spki == NULL || i == file->keys)
                ? NGX_HTTP_CERTCTL_KEY_UNKNOWN
                : ngx_memcmp(file->spki[i], spki, 32) == 0
                ? NGX_HTTP_CERTCTL_KEY_FOUND : NGX_HTTP_CERTCTL_KEY_MISMATCH;

        ngx_http_certctl_key_better(key, match, file->name, file->st.st_mode);
    }
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


/* Those in the other files: one that does not fit is reported when its name
   says that it should. */

static void
ngx_http_certctl_key_beside(ngx_http_certctl_key_t *key, const u_char *spki,
    const char *name, ngx_http_certctl_key_file_t *beside, ngx_uint_t n)
{
    ngx_uint_t                    i;
    ngx_http_certctl_key_match_e  match;

    for (i = 0; i < n; i++) {

        match = !beside[i].known ? NGX_HTTP_CERTCTL_KEY_UNKNOWN
                : ngx_memcmp(beside[i].spki, spki, 32) == 0
                ? NGX_HTTP_CERTCTL_KEY_FOUND
                : ngx_http_certctl_key_is_named(name, beside[i].name)
                ? NGX_HTTP_CERTCTL_KEY_MISMATCH : NGX_HTTP_CERTCTL_KEY_NONE;

        ngx_http_certctl_key_better(key, match, beside[i].name,
                                    beside[i].mode);
    }
}


static void
ngx_http_certctl_key_json(ngx_http_certctl_json_t *json,
    ngx_http_certctl_key_t *key)
{
    ngx_http_certctl_json_open(json, "key", '{');
    ngx_http_certctl_json_text(json, "match",
                               ngx_http_certctl_key_match_text[key->match]);

    if (key->match) {
        ngx_http_certctl_json_text(json, "file", key->name);
        ngx_http_certctl_file_mode(json, key->mode);
    }

    ngx_http_certctl_json_close(json, '}');
    ngx_http_certctl_json_open(json, "warnings", '[');

    if (key->match && (key->mode & S_IROTH)) {
        ngx_http_certctl_json_text(json, NULL,
                                   "private key is readable by others");
    }

    ngx_http_certctl_json_close(json, ']');
}


static void
ngx_http_certctl_file_cert(ngx_http_certctl_json_t *json, X509 *x509,
    ngx_http_certctl_file_t *file, ngx_http_certctl_key_file_t *beside,
    ngx_uint_t nbeside)
{
    char                     fingerprint[CERTCTL_HEX256];
    u_char                   digest[32], spki[32];
    ngx_uint_t               leaf;
    ngx_http_certctl_key_t   key;

    (void) X509_digest(x509, EVP_sha256(), digest, NULL);
    certctl_hex(digest, sizeof(digest), fingerprint);

    leaf = !X509_check_ca(x509);

    ngx_http_certctl_json_flag(json, "leaf", leaf);
    ngx_http_certctl_json_x509(json, x509, fingerprint);
    ngx_http_certctl_json_pem(json, x509, NULL);

    key.match = NGX_HTTP_CERTCTL_KEY_NONE;

    if (ngx_http_certctl_spki(X509_get0_pubkey(x509), spki) == NGX_OK) {
        ngx_http_certctl_key_inside(&key, spki, file);
        ngx_http_certctl_key_beside(&key, spki, file->name, beside, nbeside);

    } else {
        ngx_http_certctl_key_inside(&key, NULL, file);
    }

    /* beside a CA there are keys of others */

    if (!leaf && key.match != NGX_HTTP_CERTCTL_KEY_FOUND) {
        key.match = NGX_HTTP_CERTCTL_KEY_NONE;
    }

    ngx_http_certctl_key_json(json, &key);
}


void
ngx_http_certctl_file_json(ngx_http_certctl_scan_t *scan,
    ngx_http_certctl_file_t *file, ngx_http_certctl_key_file_t *beside,
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
