/* Handlers of what is not generic, for routes.c. */
#pragma once
#include "resource.h"

rest_handler  issuer_create, issuer_update, issuer_test_post;
rest_handler  agent_retire, agent_revoke_post, agent_recover_post;
rest_handler  authority_create, authority_use, authority_withdraw;
rest_handler  certificate_renew, certificate_deploy, certificate_revoke,
              certificate_archive, certificate_restore;
rest_handler  renewal_policy_delete;
rest_handler  job_cancel;
rest_handler  discovered_claim, discovered_dismiss, discovery_summary;
rest_handler  stats_summary, metrics_prometheus;
rest_handler  api_key_create, auth_check, auth_info;
rest_handler  health, ready, version, problem_get;
