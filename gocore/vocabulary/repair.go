package vocabulary

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/se600m/se600m-go/gocore/internal/words"
)

// Repair is a change that turns many of a data set's unknown names into the
// model's genes.
type Repair struct {
	// What says what the names have in common, after "have".
	What string `json:"what"`
	// N is how many names become genes that the data set does not have yet.
	N int `json:"n"`
	// Examples are the first few of them.
	Examples []Suggestion `json:"examples"`
	// Line is the line of Python that makes the change, after those of the repairs
	// before it.
	Line string `json:"line"`
}

// change is a way to get from a name to another one, in Go and in pandas.
type change struct {
	what string
	// apply gives the changed name, or the name itself where there is nothing to
	// change.
	apply func(name string) string
	// pandas is the method of a Series or Index that does the same.
	pandas string
	// least is the least share of the names that a change applies to which must
	// become genes: what is cut off by chance makes a gene now and then.
	least float64
	// prefix is what the change cuts off the beginning, if it does that.
	prefix string
	// only, if not nil, says which names the change is tried on. What pandas does,
	// it does to all.
	only func(name string) bool
}

const (
	// nSampled is how many names are looked at to see what they have in common.
	nSampled = 2000
	// nSampledTwice is how many are looked at for two changes at once.
	nSampledTwice = 300
	// leastShare is the least share of names that become genes where something is
	// cut off.
	leastShare = 0.1
	// mostRepairs is how many repairs are told.
	mostRepairs = 3
)

var (
	beforeID = regexp.MustCompile(`^(.*[A-Za-z0-9])[^A-Za-z0-9]+ENSG[0-9]{11}.*$`)
	afterID  = regexp.MustCompile(`^ENSG[0-9]{11}([._][0-9]+)?[^A-Za-z0-9.]+([A-Za-z0-9].*?)\)?$`)
	position = regexp.MustCompile(`^[0-9]+[^A-Za-z0-9]+`)
	counter  = regexp.MustCompile(`[-._][0-9]+$`)
	excel    = regexp.MustCompile(`(?i)^(?:0?([0-9]+)[-. ]+(mar|mrz|sep|dec|dez)\.?|(mar|mrz|sep|dec|dez)[-. ]+0?([0-9]+))$`)
	bytesOf  = regexp.MustCompile(`^b(?:'(.*)'|"(.*)")$`)
	orf      = regexp.MustCompile(`^(C(?:[0-9]{1,2}|X|Y))ORF([0-9]+)$`)
)

// invisible are characters without width, which come along when tables are copied.
const invisible = "\u200b\u200c\u200d\u2060\ufeff\u00ad"

// ownSuffix is what genes next to another gene have behind its name: theirs.
var ownSuffix = regexp.MustCompile(`-(AS|IT|OT|DT|UT)[0-9]*$`)

// fixed are changes that are tried on all unknown names.
var fixed = []change{
	{
		what:   "an Ensembl id after the symbol",
		apply:  func(s string) string { return beforeID.ReplaceAllString(s, "$1") },
		pandas: `.str.replace(r"[^A-Za-z0-9]+ENSG\d{11}.*$", "", regex=True)`,
	},
	{
		what:   "an Ensembl id before the symbol",
		apply:  func(s string) string { return afterID.ReplaceAllString(s, "$2") },
		pandas: `.str.replace(r"^ENSG\d{11}([._]\d+)?[^A-Za-z0-9.]+|\)$", "", regex=True)`,
	},
	{
		what: "invisible characters",
		apply: func(s string) string {
			return strings.Map(func(r rune) rune {
				if strings.ContainsRune(invisible, r) {
					return -1
				}
				return r
			}, s)
		},
		pandas: `.str.replace(r"[\u200b-\u200d\u2060\ufeff\u00ad]", "", regex=True)`,
	},
	{
		what: "letters of full width",
		apply: func(s string) string {
			return strings.Map(func(r rune) rune {
				if r > 0xff00 && r < 0xff5f {
					return r - 0xfee0
				}
				return r
			}, s)
		},
		pandas: `.str.normalize("NFKC")`,
	},
	{
		what: "the form of Python's bytes",
		apply: func(s string) string {
			runes := []rune(s)
			return string(runes[min(2, len(runes)):max(2, len(runes)-1)])
		},
		pandas: `.str.slice(2, -1)`,
		only:   bytesOf.MatchString,
	},
	{
		what: "the form of dates, as a spreadsheet writes them " +
			`("1-Mar" and "2-Mar" may be MTARC1 and MTARC2 as well as MARCHF1 and MARCHF2)`,
		apply: undate,
		pandas: `.str.replace(r"(?i)^0?(\d+)[-. ]+sep\.?$|^sep[-. ]+0?(\d+)$", r"SEPT\1\2", regex=True)` +
			`.str.replace(r"(?i)^0?(\d+)[-. ]+m(?:ar|rz)\.?$|^m(?:ar|rz)[-. ]+0?(\d+)$", r"MARCH\1\2", regex=True)` +
			`.str.replace(r"(?i)^0?1[-. ]+de[cz]\.?$|^de[cz][-. ]+0?1$", "DEC1", regex=True)`,
	},
	replacing(".", "-", "periods instead of hyphens, as R's make.names writes them"),
	replacing("%2D", "-", `"%2D" instead of hyphens, as in web addresses`),
	replacing("_", "-", "underscores instead of hyphens"),
	replacing(" ", "-", "spaces instead of hyphens"),
	replacing("-", "_", "hyphens instead of underscores"),
	replacing("-", ".", "hyphens instead of periods"),
	{
		what: `an "X" before a digit, as R's make.names writes it`,
		apply: func(s string) string {
			if len(s) > 1 && s[0] == 'X' && isDigit(s[1]) {
				return s[1:]
			}
			return s
		},
		pandas: `.str.replace(r"^X(?=\d)", "", regex=True)`,
		least:  leastShare,
	},
	{
		what:   "lowercase letters (correct only for human genes)",
		apply:  strings.ToUpper,
		pandas: `.str.upper()`,
		only:   func(s string) bool { return !strings.ContainsFunc(s, unicode.IsUpper) },
	},
	{
		what:   `"ORF" instead of "orf"`,
		apply:  func(s string) string { return orf.ReplaceAllString(s, "${1}orf$2") },
		pandas: `.str.replace(r"^(C(?:\d{1,2}|X|Y))ORF(\d+)$", r"\1orf\2", regex=True)`,
	},
}

var withoutNumber = change{
	what: "a number at the end",
	apply: func(s string) string {
		if _, is := humanID(s); is {
			return s
		}
		return counter.ReplaceAllString(s, "")
	},
	pandas: `.str.replace(r"[-._]\d+$", "", regex=True)`,
	least:  leastShare,
}

var withoutNumberBefore = change{
	what:   "a number before them",
	apply:  func(s string) string { return position.ReplaceAllString(s, "") },
	pandas: `.str.replace(r"^\d+[^A-Za-z0-9]+", "", regex=True)`,
	least:  leastShare,
}

func replacing(from, to, what string) change {
	return change{
		what:   what,
		apply:  func(s string) string { return strings.ReplaceAll(s, from, to) },
		pandas: fmt.Sprintf(`.str.replace(%s, %s, regex=False)`, python(from), python(to)),
	}
}

func undate(s string) string {
	parts := excel.FindStringSubmatch(s)
	if parts == nil {
		return s
	}
	number := parts[1] + parts[4]
	switch strings.ToLower(parts[2] + parts[3]) {
	case "mar", "mrz":
		return "MARCH" + number
	case "sep":
		return "SEPT" + number
	}
	if number == "1" {
		return "DEC1"
	}
	return s
}

// changesOf lists the changes to try on some names, the likelier of equally good
// ones first: those of a fixed form, and those that follow from what the names
// have in common, which are beginnings, ends, and what joins two names.
func changesOf(names []string) []change {
	var changes []change
	m := marks{edges: map[rune]int{}, prefixes: map[string]int{}, suffixes: map[string]int{}, joints: map[string]int{}}
	for _, name := range names {
		m.add(name)
	}
	longest := commonPrefix(names)
	if len(m.edges) > 0 {
		changes = append(changes, trimming(m.edges))
	}
	changes = append(changes, fixed...)
	if len(names) > 1 && len(longest) > 1 {
		m.prefixes[longest] += len(names)
	}
	for _, prefix := range frequent(m.prefixes, len(names)) {
		changes = append(changes, change{
			what:   fmt.Sprintf("the prefix %q", prefix),
			apply:  func(s string) string { return strings.TrimPrefix(s, prefix) },
			pandas: fmt.Sprintf(`.str.removeprefix(%s)`, python(prefix)),
			least:  leastShare, prefix: prefix,
		})
	}
	for _, suffix := range frequent(m.suffixes, len(names)) {
		changes = append(changes, change{
			what:   fmt.Sprintf("the suffix %q", suffix),
			apply:  func(s string) string { return strings.TrimSuffix(s, suffix) },
			pandas: fmt.Sprintf(`.str.removesuffix(%s)`, python(suffix)),
			least:  leastShare,
		})
	}
	for _, between := range frequent(m.joints, len(names)) {
		changes = append(changes, change{
			what:   fmt.Sprintf("a second name after %q", between),
			apply:  func(s string) string { before, _, _ := strings.Cut(s, between); return strings.TrimSpace(before) },
			pandas: fmt.Sprintf(`.str.split(%s, regex=False).str[0].str.strip()`, python(between)),
			least:  leastShare,
		}, change{
			what:   fmt.Sprintf("another name before %q", between),
			apply:  func(s string) string { return strings.TrimSpace(s[afterLast(s, between):]) },
			pandas: fmt.Sprintf(`.str.split(%s, regex=False).str[-1].str.strip()`, python(between)),
			least:  leastShare,
		})
	}
	for _, between := range frequent(m.joints, len(names)) {
		if between != "_" && between != " " { // which are among the fixed ones
			changes = append(changes, replacing(between, "-", fmt.Sprintf("%q instead of hyphens", between)))
		}
	}
	return append(changes, withoutNumber, withoutNumberBefore)
}

// marks count what names have in common: characters around them, what they begin
// and end with, and what joins two names in one.
type marks struct {
	edges                      map[rune]int
	prefixes, suffixes, joints map[string]int
}

func (m *marks) add(name string) {
	core := strings.TrimFunc(name, isJoint)
	if at := strings.Index(name, core); core != "" {
		for _, edge := range name[:at] + strings.TrimPrefix(name[at+len(core):], ")") {
			m.edges[edge]++
		}
	}
	if begins, ends := joint(name, 0); begins > 0 && ends < len(name) {
		if between := name[begins:ends]; between != "-" && between != "." { // genes' own names have these
			m.joints[between]++
		}
		m.prefixes[name[:ends]]++
		if _, ends = joint(name, ends); ends < len(name) {
			m.prefixes[name[:ends]]++
		}
	}
	if at := strings.LastIndexFunc(name, isJoint); at > 0 && at < len(name)-1 {
		m.suffixes[name[len(strings.TrimRightFunc(name[:at+1], isJoint)):]]++
	}
	for _, genome := range genomes {
		if rest, has := cutPrefixFold(name, genome); has && rest != "" {
			m.prefixes[name[:len(genome)]]++
		}
	}
}

// afterLast is the place behind the last of some text, 0 if it is not there.
func afterLast(s, text string) int {
	if at := strings.LastIndex(s, text); at >= 0 {
		return at + len(text)
	}
	return 0
}

// foreign are marks of other species' genes, as in experiments with cells of two.
var foreign = regexp.MustCompile(`^(?i:mm[0-9]+|grcm[0-9]+|mouse|mus_musculus|rn[0-9]+|rat|mratbn[0-9.]*|danrer[0-9]+|grcz[0-9]+|dm[0-9]+|bdgp[0-9]+)[-_.: ]+`)

// genomes are what names are marked with, with or without a character between.
var genomes = []string{"hg19", "hg38", "GRCh37", "GRCh38", "human", "rna", "gene"}

func cutPrefixFold(s, prefix string) (rest string, has bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// joint finds the first run of characters that join names, from some byte on;
// without one it is the name's length, twice.
func joint(name string, from int) (begins, ends int) {
	at := strings.IndexFunc(name[from:], isJoint)
	if at < 0 {
		return len(name), len(name)
	}
	begins = from + at
	return begins, len(name) - len(strings.TrimLeftFunc(name[begins:], isJoint))
}

// isJoint tells whether a character joins names, rather than being part of one.
func isJoint(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

func commonPrefix(names []string) string {
	if len(names) == 0 {
		return ""
	}
	longest := names[0]
	for _, name := range names {
		for !strings.HasPrefix(name, longest) {
			_, size := utf8.DecodeLastRuneInString(longest)
			longest = longest[:len(longest)-size]
		}
	}
	return longest
}

// trimming cuts characters off both ends.
func trimming(edges map[rune]int) change {
	var set []rune
	blanks, most := true, 0
	for _, n := range edges {
		most = max(most, n)
	}
	for edge, n := range edges {
		if n < most/20 {
			continue
		}
		set = append(set, edge)
		blanks = blanks && unicode.IsSpace(edge)
	}
	slices.Sort(set)
	cut := string(set)
	if blanks {
		return change{what: "spaces around them", apply: strings.TrimSpace, pandas: `.str.strip()`}
	}
	return change{
		what:   fmt.Sprintf("characters such as %q around them", cut),
		apply:  func(s string) string { return strings.Trim(s, cut) },
		pandas: fmt.Sprintf(`.str.strip(%s)`, python(cut)),
	}
}

// frequent lists what many of n names have, the most frequent first.
func frequent(counts map[string]int, n int) []string {
	type entry struct {
		text  string
		count int
	}
	var list []entry
	for text, count := range counts {
		if count >= 2 && count >= n/50 {
			list = append(list, entry{text, count})
		}
	}
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.text, b.text))
	})
	texts := make([]string, 0, 8)
	for _, e := range list[:min(len(list), cap(texts))] {
		texts = append(texts, e.text)
	}
	return texts
}

// python writes a string as a literal of Python.
func python(s string) string { return strconv.QuoteToASCII(s) }

// suits tells whether the change is tried on a name.
func (c change) suits(name string) bool { return c.only == nil || c.only(name) }

// chain is one change after another.
func chain(a, b change) change {
	return change{
		what:   a.what + " and " + b.what,
		apply:  func(s string) string { return b.apply(a.apply(s)) },
		pandas: a.pandas + b.pandas,
		least:  max(a.least, b.least),
		prefix: a.prefix + b.prefix,
		only:   func(s string) bool { return a.suits(s) && b.suits(a.apply(s)) },
	}
}

// unknown is a name without a token.
type unknown struct {
	// given is the name as it stands in the data set.
	given string
	// name is what the repairs found before make of it: one comes after the other.
	name   string
	column int // in the data set
}

// isOpen tells whether a name may be something that is to be repaired: it is not
// if it says by itself what it is.
func isOpen(name string) bool {
	return name != "" && !isHumanGene(name) && !isAntibody(name) && !ownSuffix.MatchString(name)
}

// outcome is what a change makes of the unknown names.
type outcome struct {
	change  change
	applies int
	found   []unknown
	tokens  []int32
	// repeated is how many more names would become a gene that another one becomes.
	repeated int
}

// Who has a gene of the vocabulary.
const (
	free    uint8 = iota
	matched       // a name that was found, or that another repair makes a gene
	tried         // a name that the change in question makes a gene
)

// try applies a change to unknown names. Genes that the data set has already do
// not count: "CD4-1" next to "CD4" is something else.
func (m *Match) try(c change, names []unknown, owners []uint8) outcome {
	o := outcome{change: c}
	for _, u := range names {
		if !c.suits(u.name) {
			continue
		}
		changed := c.apply(u.name)
		if changed == u.name || changed == "" {
			continue
		}
		o.applies++
		token, how := m.vocabulary.Find(changed)
		switch {
		case how == NotFound || owners[token] == matched:
		case owners[token] == tried:
			o.repeated++
		default:
			owners[token] = tried
			o.found, o.tokens = append(o.found, u), append(o.tokens, token)
		}
	}
	for _, token := range o.tokens {
		owners[token] = free
	}
	return o
}

// good tells whether a change is worth a word.
func (o outcome) good() bool {
	return len(o.found) >= 2 && float64(len(o.found)) >= o.change.least*float64(o.applies)
}

// findRepairs looks for what unknown names have in common, and notes which names
// what would repair.
func (m *Match) findRepairs() {
	names := m.column.Genes
	m.RepairOf = make([]int32, len(names))
	owners := make([]uint8, m.vocabulary.NGenes())
	for i, token := range m.Tokens {
		m.RepairOf[i] = -1
		if token != Unknown {
			owners[token] = matched
		}
	}
	var rest []unknown
	for i, name := range names {
		if m.Tokens[i] == Unknown && isOpen(name) {
			rest = append(rest, unknown{name, name, i})
		}
	}
	for len(rest) > 1 && len(m.Repairs) < mostRepairs {
		best := m.bestChange(rest, owners)
		if !best.good() {
			break
		}
		r := Repair{What: best.change.what, Line: m.line(best.change)}
		if best.repeated > len(best.found) {
			r.What += " (several become one gene: add up their counts)"
		}
		if others, n := m.otherGenome(); n > 0 && best.change.prefix != "" {
			r.What += fmt.Sprintf("; %s %s the prefix %q of another genome", words.Many(n, "other"), words.Agreeing(n, "has", "have"), others)
			r.Line = m.selection(best.change.prefix) + r.Line
		}
		rest = m.repaired(r, best, rest, owners)
		rest = leftBy(best.change, rest)
	}
	near := outcome{}
	for _, u := range rest {
		if known := m.vocabulary.Suggest(u.name); known != "" {
			if token := m.vocabulary.Token(known); owners[token] == free {
				owners[token] = tried
				near.found, near.tokens = append(near.found, u), append(near.tokens, token)
			}
		}
	}
	if len(near.found) > 0 {
		m.repaired(Repair{What: "a different case or punctuation than the model's genes"}, near, rest, owners)
	}
}

// repaired notes a repair, and gives the names that it leaves.
func (m *Match) repaired(r Repair, by outcome, names []unknown, owners []uint8) []unknown {
	r.N = len(by.found)
	for i, u := range by.found {
		r.Examples = few(r.Examples, Suggestion{u.given, m.vocabulary.genes[by.tokens[i]]})
		m.RepairOf[u.column] = int32(len(m.Repairs))
		owners[by.tokens[i]] = matched
	}
	m.Repairs = append(m.Repairs, r)
	var rest []unknown
	for _, u := range names {
		if m.RepairOf[u.column] < 0 {
			rest = append(rest, u)
		}
	}
	return rest
}

// leftBy gives the names that are still unknown as a change leaves them: pandas
// makes it of all names.
func leftBy(c change, names []unknown) []unknown {
	var rest []unknown
	for _, u := range names {
		if u.name = c.apply(u.name); isOpen(u.name) {
			rest = append(rest, u)
		}
	}
	return rest
}

// bestChange is the change that makes the most genes. If hardly any name is
// known and none makes any, it is two changes, one after the other.
func (m *Match) bestChange(names []unknown, owners []uint8) outcome {
	candidates := changesOf(sampled(names, nSampled))
	var best outcome
	for _, c := range candidates {
		if o := m.try(c, names, owners); o.good() && len(o.found) > len(best.found) {
			best = o
		}
	}
	if best.good() || m.NMatched+m.nRepaired() > len(m.Tokens)/20 {
		return best
	}
	some := everyFew(names, nSampledTwice)
	for _, first := range candidates {
		var changed []string
		for _, u := range some {
			if to := first.apply(u.name); first.suits(u.name) && to != u.name && to != "" {
				changed = append(changed, to)
			}
		}
		if 20*len(changed) < len(some) {
			continue
		}
		for _, second := range changesOf(changed) {
			if o := m.try(chain(first, second), some, owners); o.good() && len(o.found) > len(best.found) {
				best = o
			}
		}
	}
	if !best.good() {
		return best
	}
	return m.try(best.change, names, owners)
}

// everyFew takes some of a list, evenly spread over it.
func everyFew[T any](list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	some := make([]T, most)
	for i := range some {
		some[i] = list[i*len(list)/most]
	}
	return some
}

func sampled(names []unknown, most int) []string {
	some := everyFew(names, most)
	sample := make([]string, len(some))
	for i, u := range some {
		sample[i] = u.name
	}
	return sample
}

// line is the line of Python that makes a change. Names that the model has stay
// as they are, should the change harm them.
func (m *Match) line(c change) string {
	target := m.column.Target
	for i, name := range m.column.Genes {
		if m.Tokens[i] == Unknown {
			continue
		}
		if changed := c.apply(name); changed != name {
			if token, _ := m.vocabulary.Find(changed); token != m.Tokens[i] {
				// A categorical takes no values but its categories.
				text := target
				if strings.HasSuffix(target, "]") {
					text += ".astype(str)"
				}
				return fmt.Sprintf("%s = %s.where(%s.isin(model.genes), %s%s)", target, text, text, text, c.pandas)
			}
		}
	}
	return fmt.Sprintf("%s = %s%s", target, target, c.pandas)
}

// otherGenome counts the names that are marked as another species' genes.
func (m *Match) otherGenome() (mark string, n int) {
	for _, name := range m.column.Genes {
		if found := foreign.FindString(name); found != "" {
			mark = found
			n++
		}
	}
	if n < len(m.column.Genes)/20 {
		return "", 0
	}
	return mark, n
}

// selection is the Python that keeps the names with a prefix.
func (m *Match) selection(prefix string) string {
	if strings.Contains(m.column.Target, ".raw.") {
		return "adata = adata.raw.to_adata(); "
	}
	return fmt.Sprintf("adata = adata[:, %s.str.startswith(%s)].copy(); ", m.column.Target, python(prefix))
}
