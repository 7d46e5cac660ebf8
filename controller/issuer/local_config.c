/* A local CA's configuration: its fields, their defaults and bounds. */
#include "local_config.h"
#include "local.h"

#define DAY             86400
#define HOUR            3600

/* As it goes into certificates (RFC 5280 4.2.2.1): printable, absolute. */
#define URL_PATTERN  "(?:https?://[\\x21-\\x7e]+)?"
#define PATH         T_TEXT, 0, 0, 1000

const struct field  local_fields[] = {
    { "ca_common_name", T_TEXT, F_FIXED, 0, 64, .check = field_check_label,
      .init = "\"" LOCAL_ROOT_NAME "\"",
      .help = "name of the root that is made" },
    { "key_type", T_TEXT, F_FIXED, .init = "\"ec-p256\"",
      .allowed = "ec-p256 ec-p384 rsa-2048 rsa-3072 rsa-4096 ed25519",
      .help = "key of the root that is made" },
    { "ca_validity_days", T_INT, F_FIXED, 30, 36500, .init = "3650",
      .help = "lifetime of the root that is made, in days" },
    { "validity_days", T_INT, 0, 1, 3650, .init = "90",
      .help = "lifetime of a certificate, in days, unless its order says otherwise" },
    { "ca_cert_path", PATH,
      .help = "PEM file instead of a root made here: a CA certificate, then those "
              "above it" },
    { "ca_key_path", PATH, .help = "PEM file with its key, not encrypted" },
    { "ocsp_url", T_TEXT, 0, 0, 1000, .pattern = URL_PATTERN,
      .help = "where clients ask for OCSP responses; stands in certificates" },
    { "crl_url", T_TEXT, 0, 0, 1000, .pattern = URL_PATTERN,
      .help = "where clients get the CRL; stands in certificates" },
    { "ca_issuers_url", T_TEXT, 0, 0, 1000, .pattern = URL_PATTERN,
      .help = "where clients get the CA certificate; stands in certificates" },
    { "ocsp_life_seconds", T_INT, 0, HOUR, LOCAL_OCSP_LIFE_MAX, .init = "604800",
      .help = "lifetime of an OCSP response, in seconds" },
    { "ca_cert_pem", T_TEXT, F_READ, .help = "the root that was made" },
    { "ca_key_pem", T_TEXT, F_READ | F_SECRET, .help = "its key" },
    { "ocsp_responder_pem", T_TEXT, F_READ, .help = "certificate that signs OCSP responses" },
    { "ocsp_responder_key_pem", T_TEXT, F_READ | F_SECRET, .help = "its key" },
    { 0 }
};

const char *
local_text(const json_t *config, const char *name)
{
    const char  *text = json_string_value(json_object_get(config, name));

    return text ? text : "";
}

int
local_number(const json_t *config, const char *name)
{
    const json_t  *value = json_object_get(config, name);
    json_t        *init;
    int            number;

    if (json_is_integer(value)) {
        return (int) json_integer_value(value);
    }

    init = field_default(field_find(local_fields, name));
    number = (int) json_integer_value(init);
    json_decref(init);

    return number;
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

bool
local_check(const json_t *config, struct error *err)
{
    if (!*local_text(config, "ca_cert_path") != !*local_text(config, "ca_key_path")) {
        return error_field(err, *local_text(config, "ca_key_path")
                           ? "/config/ca_cert_path" : "/config/ca_key_path",
                           "ca_cert_path and ca_key_path go together");
    }

    if (!*local_text(config, "ca_cert_pem") != !*local_text(config, "ca_key_pem")) {
        return error_field(err, "/config/ca_cert_pem", "ca_cert_pem and ca_key_pem are "
                           "made here: to bring a CA, use ca_cert_path and ca_key_path");
    }

    return true;
}
