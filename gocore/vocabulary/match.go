package vocabulary

import (
	"slices"
	"sync"
)

// Column is a list of names that a data set has for its genes: the index or a
// column of AnnData's var.
type Column struct {
	// Name is what a user calls the column.
	Name string
	// Genes has one name a gene; "" where there is none.
	Genes []string
	// Others are the names that this column has for what else is in the data set,
	// such as antibodies. A gene "CD4-1" next to an antibody "CD4" is CD4: AnnData's
	// var_names_make_unique has added the number.
	Others []string
	// Target is the column as Python assigns to it, for lines that repair it; the
	// name if there is none.
	Target string
}

// nExamples is how many names an error or a report shows.
const nExamples = 5

// Suggestion is a gene of the model whose name is close to one that the model
// does not have.
type Suggestion struct {
	Given string `json:"given"`
	Known string `json:"known"`
}

// Match is what became of a data set's genes.
type Match struct {
	// Column is where the names were taken from, Index its place among the columns
	// that [Vocabulary.MatchBest] chose from.
	Column string
	Index  int
	// Tokens has one entry a gene of the data set, [Unknown] for those that
	// the vocabulary does not have.
	Tokens []int32
	// NMatched is how many genes of the data set have a token; NByID is how
	// many of those were found by their Ensembl id, NRenamed how many because
	// the model knows the gene under another symbol than the data set, or than
	// GENCODE has for the id. Renamed are the first few of those.
	NMatched, NByID, NRenamed int
	Renamed                   []Suggestion
	// NIDsUnknown is how many human Ensembl ids have no token.
	NIDsUnknown int
	// NNumbered is how many were found without a number that made them different
	// from one of [Column.Others].
	NNumbered int
	// NLeftOut is how many genes have no token because another column has it: that
	// of the model's own symbol, or of the gene's newer one. LeftOut are the first
	// few, with the symbol whose token they would have.
	NLeftOut int
	LeftOut  []Suggestion
	// IsLeftOut marks them, 1 of the genes of the data set.
	IsLeftOut []uint8
	// NRepeated is how many of the matched genes have the token of an earlier
	// one. Each stays a gene of its own in a sentence, as in the reference.
	// Repeated are the first few of them.
	NRepeated int
	Repeated  []string
	// FirstOf has for each gene the first one of the same name, whether the name
	// stands twice or a number was put behind it to make it different.
	FirstOf []int32
	// NUnnamed is how many genes have no name.
	NUnnamed int
	// Missing are a few names without a token, from all over the data set.
	Missing []string
	// Repairs are what turns unknown names into the model's genes: what many have
	// in common, and last what is close by itself. RepairOf has the number of its
	// repair for each gene of the data set, -1 for none. Nothing of it is done: a
	// guess would be silently wrong.
	Repairs  []Repair
	RepairOf []int32
	// Totals has, if the caller knows them, the sum of the values of each gene.
	Totals []float64

	// Kind tells what most of the unknown names are, such as names of clones; "" if
	// they are nothing that is known. It is worth a line in a log.
	Kind string

	nDistinct  int
	column     Column
	looked     []looked // the columns that were looked at
	missing    []string // all names without a token
	vocabulary *Vocabulary
}

// looked is a column that was looked at, and how many of its names are known.
type looked struct {
	name     string
	nMatched int
}

// Match finds a data set's genes in the vocabulary, name by name (see
// [Vocabulary.Find]). Columns with the vocabulary's own symbol, or its id, each
// have the token. A renamed symbol has it where no such column does, the newer
// one before the older ones, and the first of equals.
func (v *Vocabulary) Match(c Column) *Match {
	if c.Target == "" {
		c.Target = c.Name
	}
	m := &Match{Column: c.Name, column: c, Tokens: make([]int32, len(c.Genes)), IsLeftOut: make([]uint8, len(c.Genes)), vocabulary: v}
	hows := make([]How, len(c.Genes))
	owners := make([]int32, v.NGenes()) // 1 + the column that a token belongs to
	others := c.onlyOthers()
	for i, name := range c.Genes {
		m.Tokens[i], hows[i] = v.Find(name)
		if hows[i] == NotFound && len(others) > 0 {
			if base := withoutNumber.apply(name); others[base] && !isHumanGene(name) {
				if m.Tokens[i], hows[i] = v.Find(base); hows[i] != NotFound {
					m.NNumbered++
				}
			}
		}
		if hows[i] == NotFound {
			continue
		}
		owner := &owners[m.Tokens[i]]
		if *owner == 0 || hows[i].rank() < hows[*owner-1].rank() {
			*owner = int32(i) + 1
		}
	}
	for i, name := range c.Genes {
		m.note(i, name, hows[i], owners)
	}
	m.nDistinct = m.NMatched - m.NRepeated
	m.Missing = everyFew(m.missing, nExamples)
	m.looked = []looked{{c.Name, m.NMatched}}
	return m
}

// firstOf finds for each name the first one that is equal, or is equal but for a
// number behind this one.
func firstOf(names []string) []int32 {
	first := make(map[string]int32, len(names))
	for i, name := range names {
		if _, seen := first[name]; !seen {
			first[name] = int32(i)
		}
	}
	found := make([]int32, len(names))
	for i, name := range names {
		found[i] = first[name]
		if name == "" || found[i] != int32(i) || name[len(name)-1] < '0' || name[len(name)-1] > '9' {
			continue
		}
		if base := withoutNumber.apply(name); base != "" {
			if at, seen := first[base]; seen {
				found[i] = at
			}
		}
	}
	return found
}

// onlyOthers are the names that others have, but no gene.
func (c Column) onlyOthers() map[string]bool {
	names := make(map[string]bool, len(c.Others))
	for _, name := range c.Others {
		names[name] = name != ""
	}
	if len(names) > 0 {
		for _, name := range c.Genes {
			delete(names, name)
		}
	}
	return names
}

// note counts one gene of the data set, and takes its token away if that belongs
// to another.
func (m *Match) note(i int, name string, how How, owners []int32) {
	if _, isID := humanID(name); isID && how == NotFound {
		m.NIDsUnknown++
	}
	if how == NotFound {
		if name == "" {
			m.NUnnamed++
		} else {
			m.missing = append(m.missing, name)
		}
		return
	}
	token := m.Tokens[i]
	first := owners[token] == int32(i)+1
	if how.rank() > 0 {
		known := Suggestion{name, m.vocabulary.genes[token]}
		if !first {
			m.Tokens[i] = Unknown
			m.NLeftOut++
			m.IsLeftOut[i] = 1
			m.LeftOut = few(m.LeftOut, known)
			return
		}
		m.NRenamed++
		m.Renamed = few(m.Renamed, known)
	}
	m.NMatched++
	if how.isID() {
		m.NByID++
	}
	if !first {
		m.NRepeated++
		m.Repeated = few(m.Repeated, name)
	}
}

// MatchBest matches the column with the most of the vocabulary's genes; of
// equals, the first. Where hardly any is known, it is the column that most could
// be repaired of. There must be a column.
//
// The last match is kept, since a data set is often read in several calls.
func (v *Vocabulary) MatchBest(columns []Column) *Match {
	v.last.mu.Lock()
	defer v.last.mu.Unlock()
	if v.last.match == nil || !slices.EqualFunc(v.last.columns, columns, Column.equal) {
		v.last.columns, v.last.match = columns, v.matchBest(columns)
	}
	m := *v.last.match // for totals of its own
	return &m
}

// lastMatch is what [Vocabulary.MatchBest] found last.
type lastMatch struct {
	mu      sync.Mutex
	columns []Column
	match   *Match
}

func (c Column) equal(o Column) bool {
	return c.Name == o.Name && c.Target == o.Target && slices.Equal(c.Genes, o.Genes)
}

func (v *Vocabulary) matchBest(columns []Column) *Match {
	var best *Match
	var all []*Match
	for i, c := range columns {
		m := v.Match(c)
		m.Index = i
		all = append(all, m)
		if best == nil || m.nDistinct > best.nDistinct {
			best = m
		}
	}
	best.findRepairs()
	if len(all) > 1 && best.NMatched < len(best.Tokens)/20 {
		most := best.nRepaired()
		for _, m := range all {
			if m != best {
				m.findRepairs()
			}
			if n := m.nRepaired(); n > most && n > 2*best.NMatched {
				best, most = m, n
			}
		}
	}
	best.looked = nil
	for _, m := range all {
		best.looked = append(best.looked, looked{m.Column, m.NMatched})
	}
	best.Kind, _ = best.kind(false)
	best.FirstOf = firstOf(best.column.Genes)
	return best
}

func (m *Match) nRepaired() int {
	n := 0
	for _, r := range m.Repairs {
		n += r.N
	}
	return n
}

func few[T any](list []T, item T) []T {
	if len(list) < nExamples {
		return append(list, item)
	}
	return list
}
