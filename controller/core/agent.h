/* Hosts that run the module: first contact and retirement. */
#pragma once
#include "core.h"

/*
 * After the row is there: an Enrolment job that meets the module by its pinned
 * fingerprint, has it make an identity key and installs a certificate of the
 * fleet CA.
 */
bool agent_enrol(const struct core *c, const char *agent_id, struct error *err);
