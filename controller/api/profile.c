/* Profiles: what may be issued. */
#include "api.h"
#include "resource_fields.h"

static const struct field  algorithms[] = {
    { "algorithm", T_TEXT, F_REQUIRED, .allowed = "RSA ECDSA Ed25519",
      .help = "kind of key" },
    { "min_size", T_INT, 0, 0, 16384, .help = "bits" },
    { 0 }
};

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_NAME,
    { "description", T_TEXT, 0, 0, 1000, .init = "\"\"", .help = "what it is for" },
    { "allowed_key_algorithms", T_ROWS, 0, 1, 10, .of = algorithms,
      .init = "[{\"algorithm\":\"ECDSA\",\"min_size\":256},"
              "{\"algorithm\":\"RSA\",\"min_size\":2048},"
              "{\"algorithm\":\"Ed25519\",\"min_size\":0}]",
      .help = "RSA from 2048 bits, ECDSA from 256" },
    { "max_ttl_seconds", T_INT, 0, 60, 316224000,
      .init = "7776000", .help = "longest life" },
    { "max_validity_days", T_INT, 0, 0, 3660, .alias = "max_ttl_seconds",
      .factor = 86400, .help = "max_ttl_seconds in days" },
    { "allowed_ekus", T_TEXTS, 0, 0, 5, 32,
      .allowed = "serverAuth clientAuth codeSigning emailProtection timeStamping",
      .init = "[\"serverAuth\"]",
      .help = "extended key usages; a server's certificate needs serverAuth" },
    FIELD_PATTERNS("required_san_patterns", "one of which each name must match"),
    FIELD_PATTERNS("denied_san_patterns", "none of which a name may match"),
    { "allow_reserved_names", T_BOOL, .init = "false",
      .help = "public suffixes, and addresses that no host has (link-local, multicast, ...)" },
    { "allow_short_lived", T_BOOL, .init = "false", .help = "lives below an hour" },
    { "must_staple", T_BOOL, .init = "false", .help = "RFC 7633 status_request" },
    { "requires_approval", T_BOOL,
      .init = "false", .help = "a second person says yes" },
    { "enabled", T_BOOL, .init = "true", .help = "may be used" },
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = { { "enabled", "enabled", OP_EQ }, { 0 } };
static const struct sort    sorts[] = { SORT_NAMES, { 0 } };

const struct resource  profile_resource = {
    .name = "profile", .category = AUDIT_CONFIG, .table = "certificate_profiles",
    .schema = "CertificateProfile", .fields = fields,
    .view = "api_profiles", .filters = filters, .sorts = sorts
};
