/* Revocation: RFC 5280 5.3.1 reasons, the seven steps of domain.md rule 9. */
#pragma once
#include "core.h"

/* Revokes every version that could still be used; succeeds for a certificate
 * that was never issued.  INVALID: unknown reason, already revoked, archived. */
bool revocation_request(const struct core *c, const char *certificate_id,
    const char *reason, struct error *err);
