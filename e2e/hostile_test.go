package e2e

import (
	"slices"
	"strings"
	"testing"
)

// hostile are texts that would like to be more, or to stand elsewhere.
var hostile = []string{
	`<img src=x onerror="window.owned = true">`,
	`<script>window.owned = true</script><b>bold</b> &amp; &lt;i&gt;`,
	`javascript:window.owned=true http://example.com/"onclick="window.owned=true`,
	`[click](javascript:window.owned=true) data:text/html,<script>window.owned=true</script>`,
	`</textarea></style></title><svg onload="window.owned = true">`,
	`{{constructor.constructor('window.owned = true')()}} ${window.owned = true}`,
	"\u202eevig em ruoy drowssap\u202c \u2066unclosed \u2067and again",
	"https://example.com/\u202egpj.exe",
	strings.Repeat("word", 2500),
	"https://example.com/" + strings.Repeat("a/", 500),
	strings.Repeat("Z̸̢̛͍̹͈̗̱̣", 40),
	strings.Repeat("\n", 300) + "far below",
	"\u0000\u0007\u001b[31m controls \ufeff\u200b",
	strings.Repeat("﷽", 30),
}

// Markup is shown as text, in texts and in names; none of it runs, leads anywhere, or
// breaks out of its place.
func TestHostile(t *testing.T) {
	s := startSite(t)
	ann := s.open(t, "Ann")[0]
	bob := openPage(t, s.address(t, "form=full"), "Bob")
	eve := openPage(t, s.address(t, "form=bubble"), "Eve")
	pages := []*chatPage{ann, bob, eve}
	eve.WaitState("open")
	eve.eval(`part('toggle').click()`)
	eve.wait(`part('panel').checkVisibility()`)
	names := []string{"<b>Bob</b>", "\u202eBob\nthe\u2028second", strings.Repeat("Rob", 100), "بوب", "👩‍👩‍👧‍👦", ""}
	for i, text := range hostile {
		s.publish(t, names[i%len(names)], text)
	}
	s.publish(t, "Zoe", "the end")
	for _, p := range pages {
		p.WaitText("the end")
		p.soon(len(hostile) + 1)
		p.wantHarmless()
		p.eval(`parts('more').forEach((node) => node.click())`)
		p.wait(`parts('text').every((node) => node.open !== true || node.childNodes.length > 1)`)
		shown := p.Texts()
		if len(shown) != len(hostile)+1 {
			t.Fatalf("%s has %d messages", p.name, len(shown))
		}
		for i, text := range hostile {
			// Long texts are folded, with their beginning as the heading.
			if !strings.HasSuffix(shown[i], text) {
				t.Errorf("%s sees %.100q, not %.100q", p.name, shown[i], text)
			}
		}
		authors := js[[]string](p, `parts('author').map((node) => node.textContent)`)
		if authors[0] != "<b>Bob</b>" || strings.ContainsAny(authors[1], "\u202e\n\u2028") || len(authors[2]) > 64 || authors[4] != "👩‍👩‍👧‍👦" || authors[5] == "" {
			t.Errorf("authors %q", authors)
		}
	}
	// Direction controls in an author's name end with the name.
	if got := js[string](ann, `parts('author').map((node) => getComputedStyle(node).unicodeBidi).find((bidi) => !/isolate|plaintext/.test(bidi)) ?? ''`); got != "" {
		t.Errorf("an author's name has unicode-bidi: %s", got)
	}
	// The same as one's own messages and one's own name.
	ann.Name(names[0])
	var said []string
	for _, text := range hostile[:8] {
		text = "mine: " + text
		ann.Say(text)
		said = append(said, text)
		bob.WaitText(text)
		ann.WaitText(text)
	}
	if got := ann.Texts(); !slices.Equal(got[len(got)-8:], said) {
		t.Errorf("own messages: %q", got)
	}
	eve.wait(`part('list').textContent.includes('<b>Bob</b>')`)
	for _, p := range pages {
		p.wantHarmless()
		p.Look(true, false)
		p.wantHarmless()
	}
}

// wantHarmless fails the test if anything from the wire has become more than
// text and links to other pages, or breaks the layout.
func (p *chatPage) wantHarmless() {
	p.t.Helper()
	if made := js[[]string](p, `[...part('log').querySelectorAll('img, script, b, i, svg, iframe, [onclick], [onerror], [onload]')].map((node) => node.outerHTML)`); len(made) > 0 {
		p.t.Errorf("%s's page made of it %q", p.name, made)
	}
	if js[bool](p, `'owned' in window`) {
		p.t.Errorf("%s's page ran it", p.name)
	}
	for _, link := range js[[]string](p, `[...part('log').querySelectorAll('a')].map((a) => a.href + ' ' + a.target + ' ' + a.rel)`) {
		if !strings.HasPrefix(link, "http") || strings.Contains(link, "%E2%80%AE") || !strings.Contains(link, "_blank") ||
			!strings.Contains(link, "noopener") || !strings.Contains(link, "nofollow") || strings.Contains(link, `"`) {
			p.t.Errorf("%s's page links to %.200q", p.name, link)
		}
	}
	p.wantNarrow(p.name + "'s page")
	// The input can be used, even below a hostile text.
	if !js[bool](p, `(() => {
		const { top, bottom, left, right, width } = part('input').getBoundingClientRect();
		return top >= 0 && bottom <= innerHeight + scrollY + document.documentElement.scrollHeight && left >= 0 && right <= innerWidth + 1 && width > 100;
	})()`) {
		p.t.Errorf("%s's input is not where it should be", p.name)
	}
}

// Characters of many code points stay whole, wherever a text is cut or counted.
func TestCharacters(t *testing.T) {
	s := startSite(t)
	pages := s.open(t, "Ann", "Bob")
	ann, bob := pages[0], pages[1]
	said := []string{"👩‍👩‍👧‍👦👨🏿‍🚀🏴󠁧󠁢󠁷󠁬󠁳󠁿🇳🇴", "e\u0301 ä ﬁ ß İ", "שלום, world! مرحبا", "日本語 中文 한국어", "नमस्ते ক্ষ", "𝒳 𠮷 \U0010fffd"}
	for _, text := range said {
		ann.Say(text)
		bob.WaitText(text)
	}
	bob.WaitExactly(said...)
	// Each text has the direction of its own beginning.
	if got := js[string](bob, `getComputedStyle(parts('text')[2]).direction + getComputedStyle(parts('text')[1]).direction`); got != "rtlltr" {
		t.Errorf("directions %s", got)
	}
	// A name of too many of them ends between two.
	ann.Name(strings.Repeat("👩‍👩‍👧‍👦", 20))
	ann.Say("with a name")
	bob.WaitText("with a name")
	name := js[string](bob, `parts('author').at(-1).textContent`)
	if rest := strings.ReplaceAll(name, "👩‍👩‍👧‍👦", ""); name == "" || rest != "" {
		t.Errorf("the name is cut to %q", name)
	}
}
