/* A local CA's configuration: its fields, their defaults and bounds. */
#include "local_config.h"
#include "local.h"
#include "x509_key.h"

#include <string.h>

#define DAY             86400
#define HOUR            3600

#define ROOT_DAYS       3650
#define VALIDITY_DAYS   90
#define OCSP_LIFE       (7 * DAY)      /* refreshed at half of it, it bridges an
                                          absence of three days */

/* Numbers have a default and bounds; texts and the rest are checked below. */
static const struct number {
    const char  *name;
    int          init, min, max;
} numbers[] = {
    { "validity_days",     VALIDITY_DAYS, 1,    3650     },
    { "ca_validity_days",  ROOT_DAYS,     30,   36500    },
    { "ocsp_life_seconds", OCSP_LIFE,     HOUR, LOCAL_OCSP_LIFE_MAX },
};

/* To add a field: a row here; a number also above, a URL also in urls. */
const struct issuer_field  local_fields[] = {
    { "ca_common_name", JSON_STRING, 0,
      "name of the root that is made, \"" LOCAL_ROOT_NAME "\" unless given" },
    { "key_type", JSON_STRING, 0,
      "key of the root that is made, \"ec-p256\" unless given" },
    { "ca_validity_days", JSON_INTEGER, 0,
      "life of the root that is made, 3650 unless given" },
    { "validity_days", JSON_INTEGER, 0,
      "life of a certificate when its order does not say, 90 unless given" },
    { "ca_cert_path", JSON_STRING, 0,
      "PEM file: a CA certificate, then those above it; instead of a root made "
      "here" },
    { "ca_key_path", JSON_STRING, 0, "PEM file: its key, not encrypted" },
    { "ocsp_url", JSON_STRING, 0, "where clients ask OCSP, put in certificates" },
    { "crl_url", JSON_STRING, 0, "where clients get the CRL" },
    { "ca_issuers_url", JSON_STRING, 0, "where clients get the CA certificate" },
    { "ocsp_life_seconds", JSON_INTEGER, 0,
      "how long an OCSP response is good, 604800 unless given" },
    { "ca_cert_pem", JSON_STRING, 0, "the root that was made" },
    { "ca_key_pem", JSON_STRING, ISSUER_F_SECRET, "its key" },
    { "ocsp_responder_pem", JSON_STRING, 0, "who signs OCSP, made here" },
    { "ocsp_responder_key_pem", JSON_STRING, ISSUER_F_SECRET, "its key" },
    { NULL, 0, 0, NULL }
};

static const char *const  urls[] = { "ocsp_url", "crl_url", "ca_issuers_url" };

const char *
local_text(const json_t *config, const char *name)
{
    const char  *text = json_string_value(json_object_get(config, name));

    return text ? text : "";
}

int
local_number(const json_t *config, const char *name)
{
    const json_t         *value = json_object_get(config, name);
    const struct number  *number = numbers;

    while (strcmp(number->name, name) != 0) {
        number++;
    }

    return json_is_integer(value) ? (int) json_integer_value(value) : number->init;
}

time_t
local_validity(const json_t *config)
{
    return (time_t) local_number(config, "validity_days") * DAY;
}

int
local_ocsp_life(const json_t *config)
{
    return local_number(config, "ocsp_life_seconds");
}

static bool
numbers_check(const json_t *config, struct error *err)
{
    const json_t         *value;
    const struct number  *number;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        number = &numbers[i];
        value = json_object_get(config, number->name);

        if (value && (!json_is_integer(value)
                      || json_integer_value(value) < number->min
                      || json_integer_value(value) > number->max))
        {
            return error_set(err, ERR_INVALID, "%s is a number from %d to %d",
                             number->name, number->min, number->max);
        }
    }

    return true;
}

/* As it goes into certificates (RFC 5280 4.2.2.1): printable, absolute. */
static bool
url_check(const json_t *config, const char *name, struct error *err)
{
    const char  *p = local_text(config, name);

    if (*p == '\0') {
        return true;
    }

    if (strncmp(p, "http://", 7) != 0 && strncmp(p, "https://", 8) != 0) {
        return error_set(err, ERR_INVALID, "RFC 5280 4.2.2.1: %s begins with "
                         "http://", name);
    }

    while (*p > ' ' && *p < 0x7f) {
        p++;
    }

    return *p == '\0'
           || error_set(err, ERR_INVALID, "RFC 3986 2: %s holds a character that "
                        "no URL has", name);
}

bool
local_check(const json_t *config, struct error *err)
{
    const char  *type = local_text(config, "key_type");

    if (*type && !certctl_key_type_known(type)) {
        return error_set(err, ERR_INVALID, "key_type is ec-p256, ec-p384, rsa-2048, "
                         "rsa-3072, rsa-4096 or ed25519");
    }

    if (!*local_text(config, "ca_cert_path") != !*local_text(config, "ca_key_path")) {
        return error_set(err, ERR_INVALID, "ca_cert_path and ca_key_path go "
                         "together");
    }

    if (!*local_text(config, "ca_cert_pem") != !*local_text(config, "ca_key_pem")) {
        return error_set(err, ERR_INVALID, "ca_cert_pem and ca_key_pem are made "
                         "here: to bring a CA, use ca_cert_path and ca_key_path");
    }

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        if (!url_check(config, urls[i], err)) {
            return false;
        }
    }

    return numbers_check(config, err);
}
