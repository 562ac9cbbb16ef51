package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// refusal is a change to a configuration that is good, and a part of the error that it gives.
type refusal struct {
	change func(*Config)
	want   string
}

func refusals() map[string]refusal {
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(rsaKey().Public()))})
	secret := []byte(testSecret)
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	set := Config{JWKS: "https://id.example/keys", Issuer: "i", Audience: []string{"a"}}
	return map[string]refusal{
		"nothing":         {func(c *Config) { *c = Config{} }, "no key"},
		"short secret":    {func(c *Config) { c.Secrets = [][]byte{secret[1:]} }, "secret 1: it has 31 bytes; HS256 needs at least 32"},
		"empty secret":    {func(c *Config) { c.Secrets = [][]byte{secret, nil} }, "secret 2: it has 0 bytes"},
		"short for HS512": {func(c *Config) { c.Algorithms = []string{"HS512"} }, "HS512 needs at least 64"},
		"PEM as secret":   {func(c *Config) { c.Secrets = [][]byte{public} }, "use key"},
		"secret twice":    {func(c *Config) { c.Secrets = [][]byte{secret, secret} }, "given twice"},
		"too many":        {func(c *Config) { c.Secrets = make([][]byte, 17) }, "at most 16"},
		"secret as key":   {func(c *Config) { c.Keys = []crypto.PublicKey{secret} }, "not a public key"},
		"short RSA":       {func(c *Config) { c.Keys = []crypto.PublicKey{shortRSA()} }, "2040 bits"},
		"huge RSA": {func(c *Config) {
			c.Keys = []crypto.PublicKey{&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 9000), E: 65537}}
		}, "9001 bits"},
		"P-224":                {func(c *Config) { c.Keys = []crypto.PublicKey{p224.Public()} }, "curve"},
		"no key at all":        {func(c *Config) { c.Keys = []crypto.PublicKey{nil} }, "neither RSA"},
		"unknown algorithm":    {func(c *Config) { c.Algorithms = []string{"HS257"} }, "unknown algorithm"},
		"none":                 {func(c *Config) { c.Algorithms = []string{"none"} }, "unknown algorithm"},
		"key lacks algorithm":  {func(c *Config) { c.Algorithms = []string{"RS256"} }, "secret 1: it can only be used for HS256"},
		"algorithm lacks key":  {func(c *Config) { c.Algorithms = []string{"HS256", "RS256"} }, "algorithm RS256 fits none"},
		"long leeway":          {func(c *Config) { c.Leeway = 2*time.Minute + 1 }, "leeway"},
		"negative leeway":      {func(c *Config) { c.Leeway = -2 }, "leeway"},
		"long life":            {func(c *Config) { c.MaxLifetime = 366 * 24 * time.Hour }, "max_lifetime"},
		"negative life":        {func(c *Config) { c.MaxLifetime = -1 }, "max_lifetime"},
		"empty audience":       {func(c *Config) { c.Audience = []string{""} }, "audience"},
		"any and one":          {func(c *Config) { c.Audience, c.AnyAudience = []string{"a"}, true }, "audience"},
		"set without issuer":   {func(c *Config) { *c = set; c.Issuer = "" }, "needs issuer"},
		"set without audience": {func(c *Config) { *c = set; c.Audience = nil }, "needs audience"},
		"set for secrets":      {func(c *Config) { *c = set; c.Secrets = [][]byte{secret}; c.Algorithms = []string{"HS256"} }, "algorithms for public keys"},
		"set by http":          {func(c *Config) { *c = set; c.JWKS = "http://id.example/keys" }, "https"},
		"set by file":          {func(c *Config) { *c = set; c.JWKS = "file://localhost/keys" }, "https"},
		"set on 127.evil":      {func(c *Config) { *c = set; c.JWKS = "http://127.0.0.1.evil.example/" }, "https"},
		"set with user":        {func(c *Config) { *c = set; c.JWKS = "https://u:p@id.example/" }, "without user"},
		"set with placeholder": {func(c *Config) { *c = set; c.JWKS = "https://id.example/{env.X}" }, "placeholders"},
		"set without host":     {func(c *Config) { *c = set; c.JWKS = "https:///keys" }, "host"},
		"set that is no URL":   {func(c *Config) { *c = set; c.JWKS = "https://[" }, "not a URL"},
	}
}

func TestNewRefuses(t *testing.T) {
	for name, test := range refusals() {
		t.Run(name, func(t *testing.T) {
			c := secretConfig()
			test.change(&c)
			_, err := New(c, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("%v, want %q", err, test.want)
			}
			for _, s := range c.Secrets {
				if len(s) > 0 && strings.Contains(err.Error(), string(s)) {
					t.Errorf("the error has the secret: %v", err)
				}
			}
		})
	}
	for _, u := range []string{"http://localhost:8080/keys", "http://127.0.0.1/keys", "http://[::1]:1/keys", "https://id.example/keys?a=b"} {
		if err := CheckURL(u); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func shortRSA() *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2039), E: 65537}
}

func TestParseKey(t *testing.T) {
	spki := must(x509.MarshalPKIXPublicKey(rsaKey().Public()))
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}}
	certificate := must(x509.CreateCertificate(rand.Reader, template, template, rsaKey().Public(), rsaKey()))
	for name, test := range map[string]struct{ text, want string }{
		"public":      {block("PUBLIC KEY", spki), ""},
		"space":       {"\n " + block("PUBLIC KEY", spki) + "\n\n", ""},
		"PKCS 1":      {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)), ""},
		"certificate": {block("CERTIFICATE", certificate), ""},
		"private":     {block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(rsaKey()))), "only the public key"},
		"RSA private": {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), "only the public key"},
		"two":         {block("PUBLIC KEY", spki) + block("PUBLIC KEY", spki), "separately"},
		"text before": {"key:\n" + block("PUBLIC KEY", spki), "not PEM"},
		"secret":      {testSecret, "not PEM"},
		"empty":       {"", "not PEM"},
		"other":       {block("CERTIFICATE REQUEST", spki), "neither"},
		"broken":      {block("PUBLIC KEY", spki[1:]), "no key that can be read"},
	} {
		k, err := ParseKey([]byte(test.text))
		if test.want == "" && (err != nil || !rsaKey().PublicKey.Equal(k)) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSourceStaysTheSameForTheSameKeyAlone(t *testing.T) {
	set := func(url string) Config {
		return Config{JWKS: url, Issuer: "i", AnyAudience: true}
	}
	other := []byte(strings.Repeat("other", 8))
	var seen []string
	for _, c := range []Config{
		secretConfig(),
		{Secrets: [][]byte{other}},
		{Keys: []crypto.PublicKey{rsaKey().Public()}},
		{Keys: []crypto.PublicKey{p256().Public()}},
		set("https://a.example/"), set("https://b.example/"),
	} {
		one := newVerifier(t, c).Sources()
		if again := newVerifier(t, c).Sources(); len(one) != 1 || one[0] != again[0] || len(one[0]) != 32 {
			t.Errorf("%v, then %v", one, again)
		}
		if slices.Contains(seen, one[0]) {
			t.Errorf("%s stands for two", one[0])
		}
		seen = append(seen, one[0])
	}
	both := newVerifier(t, Config{Secrets: [][]byte{[]byte(testSecret), other}}).Sources()
	if !slices.Equal(both, seen[:2]) {
		t.Errorf("%v of %v", both, seen)
	}
}

// With two secrets, tokens go on to work while an issuer changes to the new one.
func TestEachSecretVerifies(t *testing.T) {
	other := []byte(strings.Repeat("other", 8))
	v := newVerifier(t, Config{Secrets: [][]byte{[]byte(testSecret), other}})
	for i, s := range [][]byte{[]byte(testSecret), other} {
		got, err := v.Verify(t.Context(), sign(t, "HS256", s, good(nil), nil), nil)
		if err != nil || got.Source != v.Sources()[i] {
			t.Errorf("secret %d: %+v, %v", i+1, got, err)
		}
	}
}
