
/*
 * When the store, the zone and the servers come to life: after the whole
 * configuration is read, in the master, and again for each reload.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "agent/agent.h"
#include "tls/acme.h"
#include "cert/cache.h"
#include "tls/sessions.h"
#include "tls/server.h"
#include "tls/ticket_keys.h"
#include "tls/trust.h"
#include "http/http_module.h"
#include "point.h"


static ngx_str_t  ngx_http_certctl_zone_name = ngx_string("ngx_http_certctl");


static void
ngx_http_certctl_cleanup(void *data)
{
    ngx_http_certctl_main_conf_t *mcf = data;

    ngx_certctl_servers_free(&mcf->certctl);
    ngx_certctl_ticket_keys_free(&mcf->certctl);
    EVP_CIPHER_free(mcf->certctl.ticket_cipher);
    ngx_certctl_acme_free(&mcf->certctl);
    ngx_certctl_cache_destroy(mcf->certctl.cache);
    ngx_certctl_cache_destroy(mcf->certctl.facts);

    if (mcf->certctl.store) {
        certctl_store_close(mcf->certctl.store);
    }

    ngx_certctl_trust_free(&mcf->certctl);
}


static void
ngx_http_certctl_healed(void *zone)
{
    ngx_certctl_zone_invalidate_all(zone);
}


static ngx_int_t
ngx_http_certctl_open(ngx_http_certctl_main_conf_t *mcf, ngx_log_t *log)
{
    char              why[NGX_MAX_ERROR_STR / 2];
    uid_t             uid;
    gid_t             gid;
    ngx_core_conf_t  *ccf;
    ngx_file_info_t   fi;

    /* nginx -t makes nothing: before the first start there is no folder */

    if (ngx_test_config
        && ngx_file_info(mcf->store_path.data, &fi) == NGX_FILE_ERROR
        && ngx_errno == NGX_ENOENT)
    {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(mcf->certctl.cycle->conf_ctx,
                                           ngx_core_module);
    uid = geteuid();
    gid = getegid();

    if (uid == 0) {
        uid = ccf->user;
        gid = ccf->group;
    }

    mcf->certctl.store = certctl_store_open((char *) mcf->store_path.data,
                                    !ngx_test_config, uid, gid, why,
                                    sizeof(why));
    if (mcf->certctl.store == NULL) {
        ngx_log_error(NGX_LOG_EMERG, log, 0, "\"certctl_store\": %s", why);
        return NGX_ERROR;
    }

    if (ngx_test_config) {
        certctl_store_close(mcf->certctl.store);
        mcf->certctl.store = NULL;
        return NGX_OK;
    }

    ngx_certctl_sessions_init(&mcf->certctl, log);

    if (mcf->certctl.ticket_keys) {
        ngx_certctl_ticket_keys_rotate(&mcf->certctl, 0, log);
    }

    certctl_store_on_heal(mcf->certctl.store, ngx_http_certctl_healed,
                          mcf->certctl.zone);

    if (mcf->agents) {
        ngx_http_certctl_agent_start(mcf, log);
    }

    return NGX_OK;
}


/*
 * Runs once the whole configuration is known, the workers' user included, and
 * while a failure still refuses a reload instead of ending the master.
 */

static ngx_int_t
ngx_http_certctl_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_certctl_main_conf_t *old = data;

    ngx_slab_pool_t               *shpool;
    ngx_http_certctl_main_conf_t  *mcf;

    mcf = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old) {
        mcf->certctl.zone = old->certctl.zone;

    } else if (shm_zone->shm.exists) {
        mcf->certctl.zone = shpool->data;

    } else {
        mcf->certctl.zone = ngx_slab_calloc(shpool, sizeof(ngx_certctl_zone_t));
        if (mcf->certctl.zone == NULL) {
            return NGX_ERROR;
        }

        mcf->certctl.zone->epoch = ((ngx_atomic_uint_t) ngx_time() << 20)
                           | (ngx_random() & 0xfffff);
        shpool->data = mcf->certctl.zone;
    }

    mcf->certctl.number = 1 + ngx_atomic_fetch_add(
                                    &mcf->certctl.zone->configurations, 1);

    return ngx_http_certctl_open(mcf, shm_zone->shm.log);
}


static ngx_int_t
ngx_http_certctl_add_zone(ngx_conf_t *cf, ngx_http_certctl_main_conf_t *mcf)
{
    size_t  size;

    /* the slab's own bookkeeping is far below an eighth */

    size = sizeof(ngx_certctl_zone_t) + sizeof(ngx_certctl_zone_t) / 8;

    mcf->shm_zone = ngx_shared_memory_add(cf, &ngx_http_certctl_zone_name,
                                          size, &ngx_http_certctl_module);
    if (mcf->shm_zone == NULL) {
        return NGX_ERROR;
    }

    mcf->shm_zone->init = ngx_http_certctl_init_zone;
    mcf->shm_zone->data = mcf;

#if (NGX_THREADS)

    if (mcf->agents || mcf->certctl.ticket_keys) {
        mcf->thread_pool = ngx_thread_pool_add(cf,
                mcf->thread_pool_name.len ? &mcf->thread_pool_name : NULL);
        if (mcf->thread_pool == NULL) {
            return NGX_ERROR;
        }
    }

#endif

    return NGX_OK;
}


ngx_int_t
ngx_http_certctl_start(ngx_conf_t *cf, ngx_http_certctl_main_conf_t *mcf)
{
    ngx_pool_cleanup_t  *cln;

    /* workers lose the environment that names a test build's crash point */
    CERTCTL_POINT_INIT();

    if (mcf->store_path.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no \"certctl_store\" is defined: add "
                      "\"certctl_store /var/lib/nginx/certctl;\" to http, "
                      "the place where certificates are kept");
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    mcf->certctl.cycle = cf->cycle;
    cln->handler = ngx_http_certctl_cleanup;
    cln->data = mcf;

    mcf->certctl.cache = ngx_certctl_cache_create(cf, &mcf->certctl, 0);
    mcf->certctl.facts = ngx_certctl_cache_create(cf, &mcf->certctl, 1);

    if (mcf->certctl.cache == NULL
        || mcf->certctl.facts == NULL
        || ngx_certctl_trust_load(&mcf->certctl, &mcf->trust_file, cf->log)
           != NGX_OK
        || ngx_certctl_acme_init(cf, &mcf->certctl) != NGX_OK
        || ngx_http_certctl_init_servers(cf, &mcf->certctl) != NGX_OK
        || ngx_http_certctl_init_http01(cf) != NGX_OK
        || ngx_http_certctl_add_zone(cf, mcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return mcf->agents ? ngx_http_certctl_agent_init(cf) : NGX_OK;
}
