/* An ACME issuer's configuration: its fields, their defaults and bounds. */
#include "acme.h"

#define URL_HTTPS  "https://[\\x21-\\x7e]+"

const struct field  acme_fields[] = {
    { "directory_url", T_TEXT, F_REQUIRED, 1, 1000, .pattern = URL_HTTPS,
      .help = "URL of the CA's directory (RFC 8555 7.1.1); registering an account "
              "there agrees to its terms of service" },
    { "email", T_TEXT, 0, 0, 254, .pattern = "(?:[^@\\s]+@[^@\\s]+)?",
      .help = "contact of the account" },
    { "challenge_type", T_TEXT, 0, .init = "\"http-01\"", .allowed = "http-01 tls-alpn-01",
      .help = "how the hosts prove that they control a name; the module answers on "
              "all hosts that serve it" },
    { "ca_bundle", T_TEXT, 0, 0, 65536,
      .help = "roots to trust for directory_url, PEM or the path of a PEM file; the "
              "system's roots unless given" },
    { "profile", T_TEXT, 0, 0, 100, .pattern = "[\\x21-\\x7e]*",
      .help = "certificate profile to request if the CA offers it" },
    { "profile_required", T_BOOL, 0, .init = "false",
      .help = "the order fails if the CA does not offer profile" },
    { "preferred_chain", T_TEXT, 0, 0, 200,
      .help = "common name of the root or CA that has issued the last certificate of "
              "the chain to choose, if the CA offers several" },
    { "eab_kid", T_TEXT, 0, 0, 200, .pattern = "[\\x20-\\x7e]*",
      .help = "key identifier for external account binding (RFC 8555 7.3.4)" },
    { "eab_hmac", T_TEXT, F_SECRET, 0, 500, .pattern = "[A-Za-z0-9_=-]*",
      .help = "its HMAC key, base64url" },
    { 0 }
};

const char *
acme_string(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

const char *
acme_text(const json_t *object, const char *name)
{
    const char  *text = acme_string(object, name);

    return text ? text : "";
}

bool
acme_prepare(json_t *config, struct error *err)
{
    bool  kid = *acme_text(config, "eab_kid");

    if (kid != (*acme_text(config, "eab_hmac") != '\0')) {
        return error_field(err, kid ? "/config/eab_hmac" : "/config/eab_kid",
                           "eab_kid and eab_hmac go together (RFC 8555 7.3.4)");
    }

    if (json_is_true(json_object_get(config, "profile_required"))
        && !*acme_text(config, "profile"))
    {
        return error_field(err, "/config/profile", "profile_required needs a profile");
    }

    return true;
}
