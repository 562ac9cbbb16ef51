// Package site writes the configuration of the Caddy that is measured.
package site

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Options says what stands in the Caddyfile.
type Options struct {
	Plain, TLS, Admin int    // ports; Admin 0: off
	Dir               string // where the certificate is made
	Servers           string // lines of the global option servers
	Hub               string // more lines of the directive
}

// Caddyfile returns a Caddyfile with two sites, plain and TLS, that share the
// rooms below /rt/. History is on, as it is by default. Below /none/ there are
// other rooms, which keep nothing.
func Caddyfile(o Options) (string, error) {
	cert, key, err := certificate(o.Dir)
	if err != nil {
		return "", err
	}
	admin := "off"
	if o.Admin > 0 {
		admin = fmt.Sprintf("127.0.0.1:%d", o.Admin)
	}
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https disable_redirects
	log {
		level ERROR
	}
	servers {
		%s
	}
}
(rooms) {
	realtime /rt/* {
		hub rooms
		rate off
		max_rooms off
		max_connections off
		max_connections_per_address off
		%s
	}
	realtime /none/* {
		hub none
		rate off
		max_rooms off
		max_connections off
		max_connections_per_address off
		room * {
			history 0
		}
		%[3]s
	}
}
http://:%d {
	bind 127.0.0.1
	import rooms
}
https://localhost:%d {
	bind 127.0.0.1
	tls %s %s
	import rooms
}
`, admin, o.Servers, o.Hub, o.Plain, o.TLS, cert, key), nil
}

// certificate makes a certificate for localhost, and returns the names of its
// files.
func certificate(dir string) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return "", "", err
	}
	return cert, key, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
}
