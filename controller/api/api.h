/* What routes.c takes from this room: tables of resources, handlers of actions. */
#pragma once
#include "resource.h"

extern const struct resource
    organization_resource, team_resource, owner_resource, profile_resource,
    renewal_policy_resource, issuer_resource, target_resource,
    agent_resource, agent_active_resource, agent_retired_resource,
    agent_retire_resource,
    certificate_resource, certificate_version_resource,
    certificate_renewal_resource, certificate_deployment_resource,
    certificate_renew_resource, certificate_deploy_resource,
    certificate_revoke_resource,
    job_resource, job_cancel_resource,
    discovered_certificate_resource, discovered_claim_resource,
    discovered_dismiss_resource, discovery_scan_resource,
    discovery_summary_resource,
    audit_event_resource, stats_summary_resource,
    api_key_resource, auth_check_resource, auth_info_resource,
    health_resource, ready_resource, version_resource, problem_resource;

rest_handler  issuer_create, issuer_update;
rest_handler  agent_create, agent_update, agent_retire;
rest_handler  certificate_renew, certificate_deploy, certificate_revoke;
rest_handler  job_cancel;
rest_handler  discovered_claim, discovered_dismiss, discovery_summary;
rest_handler  stats_summary;
rest_handler  api_key_create, auth_check, auth_info;
rest_handler  health, ready, version, problem_get;
