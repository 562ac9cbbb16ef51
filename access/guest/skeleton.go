package guest

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Skeletons returns what remains of a name if all that looks alike is made the same. Two names that
// have a skeleton in common look like one another, or differ by letter case: see [Alike].
// There are up to three, since capitals may look like other letters than small ones do: the Greek N
// is Ν, and its small form, ν, is like a v. A name of spaces alone has none.
//
// It ignores letter case, width, spaces, marks above and below letters, and invisible characters, and
// compares Latin letters and digits with those of other scripts that look like them. It follows the idea
// of UTS 39, section 4, with a smaller table, and goes further with marks and digits: a name too
// many that is refused does less harm than one that passes for another.
func Skeletons(name string) []string {
	var all []string
	for _, form := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
		if s := skeleton(form); s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// Alike reports whether two names look like one another, or differ by letter case alone.
func Alike(a, b string) bool {
	of := Skeletons(b)
	return slices.ContainsFunc(Skeletons(a), func(s string) bool { return slices.Contains(of, s) })
}

// skeleton returns the skeleton of a name as it is written.
func skeleton(name string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(name) {
		if like, ok := looksLike[r]; ok {
			b.WriteString(like)
			continue
		}
		if !unicode.IsSpace(r) && !unicode.Is(unicode.Mn, r) && !isHidden(r) {
			b.WriteRune(r)
		}
	}
	return alike.Replace(strings.ToLower(b.String()))
}

// alike joins Latin letters and digits that look like one another in many fonts.
var alike = strings.NewReplacer("rn", "m", "vv", "w", "i", "l", "1", "l", "|", "l", "0", "o", "ς", "σ")

// looksLike has the ASCII text that other characters look like.
var looksLike = readLooks(
	// Latin: letters with strokes, small capitals and phonetic signs.
	"ɑa ᴀa æae ʙb ɓb ƀb ᴄc ƈc ᴅd đd ɖd ɗd ᴇe ǝe ɛe ꜰf ƒf ɢg ɡg ɠg ʜh ħh ɦh ɪi ıi ɨi ɩi ᴊj ȷj ɉj ᴋk ƙk ʟl łl ƚl ɫl ǀl ᴍm ɱm ɴn ŋn ɲn "+
		"ᴏo øo ɵo œoe ᴘp ƥp ʀr ɾr ɼr ꜱs ʂs ßss ẞss ᴛt ŧt ƭt ʈt ᴜu ʉu ᴠv ʋv ᴡw ʍw ʏy ƴy ᴢz ƶz ʐz þp "+
		"ÆAE ƁB ƇC ĐD ƉD ƊD ƎE ƐE ƑF ƓG ĦH ƗI ƖI ƘK ŁL ƝN ŊN ØO ƟO ŒOE ƤP ŦT ƬT ƮT ƲV ƳY ƵZ ÞP",
	// Cyrillic.
	"аa вb ьb сc ԁd еe ғf һh нh іi јj кk ӏl мm пn оo рp ԛq гr ѕs тt ԏt цu ѵv ԝw ѡw шw хx уy үy зз "+
		"АA ВB СC ЕE НH ІI ЈJ КK ӀI МM ОO РP ԚQ ЅS ТT ѴV ԜW ХX УY ҮY Ьb ԌG",
	// Greek and Coptic.
	"αa βb ϲc ϵe εe ηn ιi ϳj κk νv οo ρp ϱp σo τt υu χx γy ωw μu "+
		"ΑA ΒB ϹC ΕE ΗH ΙI ͿJ ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX ΖZ "+
		"ⲁa ⲃb ⲥc ⲓi ⲕk ⲟo ⲣp ⲧt ⲩy ⲭx ⲀA ⲂB ⲤC ⲎH ⲒI ⲔK ⲘM ⲚN ⲞO ⲢP ⲦT ⲨY ⲬX",
	// Armenian, Cherokee and Lisu.
	"ցg հh յj լl ոn օo զq սu ՍU ՏS ՕO ԼL ՀR "+
		"ᎪA ᏴB ᏟC ᎠD ᎬE ᏀG ᎻH ᎥI ᎫJ ᏦK ᏞL ᎷM ᏢP ᎡR ᏒR ᏚS ᏕS ᎢT ᏙV ᎳW ᏔW ᎩY ᏃZ ᏎU "+
		"ꓮA ꓐB ꓚC ꓓD ꓰE ꓝF ꓖG ꓧH ꓲI ꓙJ ꓗK ꓡL ꓟM ꓠN ꓳO ꓑP ꓣR ꓢS ꓔT ꓴU ꓦV ꓪW ꓫX ꓬY ꓜZ",
	// Signs.
	"∣l ⎮l ǃ! ‐- ‑- ‒- –- —- −- ’' ‘' ʼ' `' ՚'",
)

// readLooks reads words of a character and the text that it looks like.
func readLooks(lists ...string) map[rune]string {
	looks := make(map[rune]string)
	for _, list := range lists {
		for word := range strings.FieldsSeq(list) {
			for _, r := range word {
				looks[r] = word[len(string(r)):]
				break
			}
		}
	}
	return looks
}
