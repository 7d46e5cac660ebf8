/* Profiles and rules of names: what may be ordered, and what may be issued. */
#pragma once
#include "core.h"
#include "x509_info.h"

/*
 * Whether a certificate keeps the rules of its profile and organization, its
 * names and key type among them; INVALID with a pointer to the field.
 */
bool profile_allows(const struct core *c, const char *certificate_id,
    struct error *err);

/* Whether the profile allows what a CA has issued for an order, as info says of the
 * leaf of chain_pem; else INVALID. */
bool profile_allows_issued(const struct core *c, const char *order_id,
    const char *chain_pem, const struct certctl_x509_info *info, struct error *err);
