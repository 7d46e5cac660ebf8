/* Hosts that run the module: first contact and revocation. */
#pragma once
#include "core.h"

/*
 * After the row is there: an Enrolment job that meets the module by its pinned
 * fingerprint, has it make an identity key and installs a certificate of the
 * fleet CA.
 */
bool agent_enrol(const struct core *c, const char *agent_id, struct error *err);

/*
 * The host is retired and its identity never met again; every certificate for a
 * key that it has is revoked, and those that other hosts serve too are renewed
 * there.  *ret says which.  CONFLICT when it is revoked already.
 */
bool agent_revoke(const struct core *c, const char *agent_id, const char *reason,
    json_t **ret, struct error *err);
