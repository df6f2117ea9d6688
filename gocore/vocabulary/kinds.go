package vocabulary

import (
	"regexp"
	"slices"
	"strings"
)

// kind is a kind of names that are no human gene's: what most unknown names of a
// data set are of one kind of, its message says.
type kind struct {
	is func(name string) bool
	// are completes "these names …"; way is the way out, if there is one.
	are, way string
	// one says what a name is that is an identifier rather than a symbol.
	one string
}

const (
	geneColumn = "choose the column of var with the gene symbols (gene_column=...)"
	idColumn   = "choose the column of var with Ensembl ids, if there is one (gene_column=...)"
	orthologs  = "the model knows human genes, so map them to human orthologues first, with se600m.map_orthologues"
)

// kinds, the more special before the more general.
var kinds = []kind{
	{
		is:  pattern(`^(?i:chr)?([0-9]{1,2}|[XYxy]|MT?|[A-Z]{2}[0-9]{6}\.[0-9]+|Un_\w+)[-:_][0-9]+[-:_.][0-9]+$`),
		are: "are peaks", way: "embed only the gene expression",
	},
	{is: isAntibody, are: "are antibodies or hashtags", way: "embed only the gene expression"},
	{is: pattern(`(?i)^ercc-`), are: "are spike-ins", way: "remove them"},
	{
		is:  pattern(`^ENSMUS[GTP][0-9]{11}`),
		are: "are Ensembl ids of mouse genes", way: orthologs, one: "an Ensembl id of mouse",
	},
	{
		is:  pattern(`^ENS[TP][0-9]{11}`),
		are: "are Ensembl ids of transcripts or proteins, not of genes", way: "add their counts up to genes, or " + geneColumn,
		one: "the Ensembl id of a transcript or protein",
	},
	{
		is:  pattern(`^ENS[A-Z]{3,}[GTP][0-9]{11}`),
		are: "are Ensembl ids of another species", way: orthologs, one: "an Ensembl id of another species",
	},
	{is: pattern(`^(FBgn|WBGene|AT[1-5]G)[0-9]{4,}`), are: "are genes of another species", way: orthologs},
	{
		is:  pattern(`^[NX][MRP]_[0-9]+`),
		are: "are RefSeq accessions of transcripts or proteins", way: "add their counts up to genes, or " + geneColumn,
		one: "a RefSeq accession",
	},
	{
		is:  pattern(`^([OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9]([A-Z][A-Z0-9]{2}[0-9]){1,2})(-[0-9]+)?$`),
		are: "are UniProt accessions of proteins", way: geneColumn, one: "a UniProt accession",
	},
	{is: pattern(`^([0-9]+(_[asx])?_(s_)?at|ILMN_[0-9]+)$`), are: "are probes of a microarray", way: geneColumn},
	{
		is:  dates.MatchString,
		are: "are gene symbols that a spreadsheet has turned into dates", way: "read the gene names from the original file",
	},
	{is: pattern(`^HGNC:[0-9]+$`), are: "are HGNC ids", way: geneColumn, one: "an HGNC id"},
	{
		is:  pattern(`^LOC[0-9]+$`),
		are: "are NCBI's names for genes without a symbol", way: idColumn,
	},
	{
		is:  pattern(`^(RP[0-9]{1,2}-[0-9]+[A-Z][0-9]+|CT[ABCD]-[0-9]+[A-Z]|(KB|GS1|LA16c|LL[0-9A-Z]+|XX\w*)-\w+|[A-Z]{1,2}[0-9]{5,6})(\.[0-9]+)?(-[0-9]+)?$`),
		are: "are names of clones, which Ensembl gives genes without a symbol",
		way: idColumn,
	},
	{
		is:  pattern(`^[0-9]+(\.0)?$`),
		are: "are numbers, such as NCBI's (Entrez) gene ids or positions", way: geneColumn + ", or set adata.var_names",
		one: "a number",
	},
	{is: isHumanGene, are: "are human genes that the model does not have"},
	{is: looksLikeMouse, are: "look like mouse or rat symbols", way: orthologs},
}

func pattern(expression string) func(string) bool {
	return regexp.MustCompile(expression).MatchString
}

// dates are what a spreadsheet makes of MARCH1, SEPT2 and DEC1, in English or German,
// and what is left of the former without its hyphen.
var dates = regexp.MustCompile(`(?i)^([0-9]{1,2}[-. ]+(mar|mrz|sept?|dec|dez)\.?|(mar|mrz|sept?|dec|dez)[-. ]+[0-9]{1,2}|(mar|sep)[0-9]{1,2}|[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}( .*)?)$`)

var (
	antibodyMarks = []string{"totalseq", "total_seq", "hashtag"}
	antibodyEnds  = []string{"adt", "prot", "protein", "hto", "antibody", "ab"}
)

// isAntibody tells whether a name is one that antibodies and hashtags have:
// "CD4_TotalSeqB", "ADT-CD4", "CD4_prot", "Hashtag 3". What is left without the
// mark looks like a gene.
func isAntibody(name string) bool {
	lower := strings.ToLower(name)
	for _, mark := range antibodyMarks {
		if strings.Contains(lower, mark) {
			return true
		}
	}
	for _, end := range antibodyEnds {
		if rest, has := strings.CutPrefix(lower, end); has && rest != "" && strings.ContainsRune("-_. :", rune(rest[0])) {
			return true
		}
		if rest, has := strings.CutSuffix(lower, end); has && rest != "" && strings.ContainsRune("-_. :", rune(rest[len(rest)-1])) {
			return true
		}
	}
	return strings.HasPrefix(lower, "anti-")
}

// looksLikeMouse tells whether a symbol has one capital letter and then small
// ones, as those of mouse and rat have: human ones with small letters ("C1orf112")
// have them after digits.
func looksLikeMouse(name string) bool {
	letters := strings.TrimRight(name, "0123456789")
	if len(letters) < 2 || name[0] < 'A' || name[0] > 'Z' {
		return false
	}
	small := 0
	for i := 1; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z':
			small++
		case c >= '0' && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return small > 0
}

// About tells what kind of identifier a name is that is no symbol, such as "a human
// Ensembl id"; it is "" for all else.
func About(name string) string {
	if _, is := humanID(name); is {
		return "a human Ensembl id"
	}
	for _, k := range kinds {
		if k.one != "" && k.is(name) {
			return k.one
		}
	}
	return ""
}

// dominant finds the kind that most of some names are of, if at least a third
// are of one kind.
func dominant(names []string) (k kind, found bool) {
	counts := make([]int, len(kinds))
	some := everyFew(names, nSampled)
	for _, name := range some {
		if i := slices.IndexFunc(kinds, func(k kind) bool { return k.is(name) }); i >= 0 {
			counts[i]++
		}
	}
	most := 0
	for i, n := range counts {
		if n > counts[most] {
			most = i
		}
	}
	if len(some) == 0 || 3*counts[most] < len(some) {
		return kind{}, false
	}
	return kinds[most], true
}
