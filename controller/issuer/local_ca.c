/* A local CA's keys: opened from files or configuration, made where missing. */
#include "local.h"
#include "file.h"
#include "local_config.h"
#include "seal.h"

#include <string.h>

#define DAY             86400
#define BACKDATE        3600           /* no certificate of ours begins earlier */

#define RESPONDER_LIFE  (30 * DAY)
#define RESPONDER_DUE   (LOCAL_OCSP_LIFE_MAX + 2 * DAY)

#define FILE_MAX        65536

static struct ca *
authority_from_files(const json_t *config, time_t now, struct error *err)
{
    const char              *cert_path = local_text(config, "ca_cert_path");
    const char              *key_path = local_text(config, "ca_key_path");
    CLEANUP(mem) char       *cert = file_text(cert_path, FILE_MAX, err);
    CLEANUP(secret) char    *key = NULL;
    CLEANUP(ca) struct ca   *ca = NULL;

    if (cert == NULL || (key = file_text(key_path, FILE_MAX, err)) == NULL) {
        return NULL;
    }

    ca = ca_load_certs(cert, now, err);

    if (ca == NULL) {
        error_prefix(err, "%.100s", cert_path);
        return NULL;
    }

    if (!ca_load_key(ca, key, err)) {
        error_prefix(err, "%.100s", key_path);
        return NULL;
    }

    return TAKE(ca);
}

static struct ca *
authority_open(const json_t *config, time_t now, struct error *err)
{
    if (*local_text(config, "ca_cert_path")) {
        return authority_from_files(config, now, err);
    }

    return ca_load(local_text(config, "ca_cert_pem"),
                   local_text(config, "ca_key_pem"), now, err);
}

/* A responder that is not good any more is left out: the authority signs. */
struct ca *
local_ca(const json_t *config, time_t now, struct error *err)
{
    const char    *cert = local_text(config, "ocsp_responder_pem");
    const char    *key = local_text(config, "ocsp_responder_key_pem");
    struct ca     *ca = authority_open(config, now, err);
    struct error   ignored;

    if (ca && *cert) {
        ca_responder_load(ca, cert, key, now, &ignored);
    }

    return ca;
}

/* One that ends with its authority cannot be replaced by a later one. */
static bool
responder_due(const struct ca *ca, time_t now)
{
    struct error  ignored;
    time_t        end = now + RESPONDER_DUE, from, last;

    if (ca->responder == NULL) {
        return true;
    }

    last = ca_validity(ca, &from, &last, &ignored) ? last : end;

    return X509_cmp_time(X509_get0_notAfter(ca->responder), &end) <= 0
           && X509_cmp_time(X509_get0_notAfter(ca->responder), &last) < 0;
}

/* A root that was made here; those in files are their owner's. */
static bool
root_due(const json_t *config, time_t now)
{
    struct error  ignored;
    const char   *cert = local_text(config, "ca_cert_pem");
    time_t        half;

    return *cert && !*local_text(config, "ca_cert_path")
           && ca_half_life(cert, &half, &ignored) && now >= half;
}

bool
local_prepare_due(const json_t *config, time_t now)
{
    struct error            ignored;
    CLEANUP(ca) struct ca  *ca = local_ca(config, now, &ignored);

    return root_due(config, now) || (ca && responder_due(ca, now));
}

/* Both or neither, so that config never holds one without the other. */
static bool
pair_keep(json_t *config, const char *cert_name, char *cert, const char *key_name,
    char *key, struct error *err)
{
    return (json_object_set_new(config, cert_name, json_string(cert)) == 0
            && json_object_set_new(config, key_name, json_string(key)) == 0)
           || error_set(err, ERR_INTERNAL, "CA: out of memory");
}

static time_t
root_life(const json_t *config)
{
    return (time_t) local_number(config, "ca_validity_days") * DAY;
}

static bool
root_make(json_t *config, time_t now, struct error *err)
{
    const char              *name = local_text(config, "ca_common_name");
    const char              *type = local_text(config, "key_type");
    CLEANUP(ca) struct ca   *ca = NULL;
    CLEANUP(mem) char       *cert = NULL;
    CLEANUP(secret) char    *key = NULL;

    ca = ca_create(NULL, &(struct ca_spec) {
        .key_type = *type ? type : NULL, .common_name = *name ? name : LOCAL_ROOT_NAME,
        .not_before = now - BACKDATE,
        .not_after = now + root_life(config),
        .path_len = CA_PATH_LEN_ANY, .signs_ocsp = true }, err);

    if (ca == NULL || (cert = ca_cert_pem(ca, err)) == NULL
        || (key = ca_key_pem(ca, err)) == NULL)
    {
        return false;
    }

    return pair_keep(config, "ca_cert_pem", cert, "ca_key_pem", key, err);
}

/*
 * The same key and name for as long again, so that clients with the older
 * certificate have half its life to get the newer one.  Opened as of the middle
 * of its life: it may have expired while nobody was there.
 */
static bool
root_renew(json_t *config, time_t now, struct error *err)
{
    time_t                   half;
    CLEANUP(ca) struct ca   *ca = NULL;
    CLEANUP(mem) char       *cert = NULL;

    ca = ca_half_life(local_text(config, "ca_cert_pem"), &half, err)
         ? authority_open(config, half, err) : NULL;

    if (ca == NULL
        || !ca_root_renew(ca, now - BACKDATE, now + root_life(config), err)
        || (cert = ca_cert_pem(ca, err)) == NULL)
    {
        return false;
    }

    return json_object_set_new(config, "ca_cert_pem", json_string(cert)) == 0
           || error_set(err, ERR_INTERNAL, "CA: out of memory");
}

static bool
responder_make(json_t *config, struct ca *ca, time_t now, struct error *err)
{
    char                   serial[CA_SERIAL_HEX];
    CLEANUP(mem) char     *cert = NULL;
    CLEANUP(secret) char  *key = NULL;

    if (!ca_serial_new(serial, err)
        || !ca_responder_create(ca, serial, now, RESPONDER_LIFE, err)
        || (cert = ca_x509_pem(ca->responder, err)) == NULL
        || (key = ca_pkey_pem(ca->responder_key, err)) == NULL)
    {
        return false;
    }

    return pair_keep(config, "ocsp_responder_pem", cert, "ocsp_responder_key_pem",
                     key, err);
}

bool
local_prepare(json_t *config, struct error *err)
{
    time_t                  now = time(NULL);
    CLEANUP(ca) struct ca  *ca = NULL;

    if (!local_check(config, err)) {
        return false;
    }

    if (!*local_text(config, "ca_cert_path") && !*local_text(config, "ca_cert_pem")
        && !root_make(config, now, err))
    {
        return false;
    }

    if (root_due(config, now) && !root_renew(config, now, err)) {
        return false;
    }

    ca = local_ca(config, now, err);

    return ca && (!responder_due(ca, now) || responder_make(config, ca, now, err));
}
