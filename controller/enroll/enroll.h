/*
 * Handlers for strangers: rows of routes.c with ROUTE_PUBLIC | ROUTE_PKI.
 *
 *     GET   /.well-known/pki/crl/{issuer}              enroll_crl
 *     GET   /.well-known/pki/ca/{issuer}               enroll_ca_certificate
 *     GET   /.well-known/pki/ocsp/{issuer}/{request*}  enroll_ocsp_get
 *     POST  /.well-known/pki/ocsp/{issuer}             enroll_ocsp_post, ROUTE_BINARY
 */
#pragma once
#include "rest.h"

/* DER (RFC 5280 5), application/pkix-crl.  404: no issuer; 501: it makes none. */
bool enroll_crl(struct request *r);

/* DER (RFC 5280 4.2.2.1), application/pkix-cert. */
bool enroll_ca_certificate(struct request *r);

/* RFC 6960 A.1: args[1] is a base64 request, or a serial in hex. */
bool enroll_ocsp_get(struct request *r);

/* 415 unless application/ocsp-request.  What is wrong with a request is said by
 * OCSP, under status 200. */
bool enroll_ocsp_post(struct request *r);
