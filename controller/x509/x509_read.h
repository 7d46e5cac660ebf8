/* A certificate's DER, read without setting up what reads it. */
#pragma once
#include <openssl/x509.h>
#include <stddef.h>

/* As d2i_X509() with no certificate to fill. */
X509 *certctl_x509_read(const unsigned char **p, long len);

/* Length of the DER value at der with its header (X.690 8.1.3); 0: there is none. */
size_t certctl_der_len(const unsigned char *der, size_t len);
