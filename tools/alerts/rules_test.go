// Tries alert rules: at each time that the file of tests names, these alerts fire and no others.
// Expressions are evaluated by Prometheus's own engine; `for` is as in Prometheus.
package alerts

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"gopkg.in/yaml.v3"
)

const everyMinute = time.Minute

type rule struct {
	Alert string
	Expr  string
	For   time.Duration
}

type look struct {
	At         time.Duration `yaml:"eval_time"`
	Expr       string
	ExpSamples []struct{ Labels string } `yaml:"exp_samples"`
}

type tried struct {
	Name        string
	InputSeries []struct{ Series, Values string } `yaml:"input_series"`
	Looks       []look                            `yaml:"promql_expr_test"`
}

func TestRules(t *testing.T) {
	var rules struct{ Groups []struct{ Rules []rule } }
	var tests struct{ Tests []tried }
	read(t, "alerts.yaml", &rules)
	read(t, "alerts.test.yaml", &tests)
	for _, one := range tests.Tests {
		t.Run(one.Name, func(t *testing.T) {
			for _, group := range rules.Groups {
				try(t, group.Rules, one)
			}
		})
	}
}

func read(t *testing.T, name string, into any) {
	content, err := os.ReadFile(filepath.Join(os.Getenv("RULES_FOLDER"), name))
	if err == nil {
		err = yaml.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func try(t *testing.T, rules []rule, one tried) {
	series := "load 1m\n"
	for _, each := range one.InputSeries {
		series += "  " + each.Series + " " + each.Values + "\n"
	}
	stored := promqltest.LoadedStorage(t, series)
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
	})
	last := slices.MaxFunc(one.Looks, func(a, b look) int { return int(a.At - b.At) }).At
	pending := map[string]time.Duration{} // since when each alert with its labels is true
	for now := time.Duration(0); now <= last; now += everyMinute {
		firing := []string{}
		stillTrue := map[string]time.Duration{}
		for _, rule := range rules {
			query, err := engine.NewInstantQuery(t.Context(), stored, nil, rule.Expr, time.Unix(0, 0).Add(now))
			if err != nil {
				t.Fatal(rule.Alert, err)
			}
			samples, err := query.Exec(context.Background()).Vector()
			if err != nil {
				t.Fatal(rule.Alert, err)
			}
			for _, sample := range samples {
				key := rule.Alert + sample.Metric.String()
				since, was := pending[key]
				if !was {
					since = now
				}
				stillTrue[key] = since
				if now-since >= rule.For && !slices.Contains(firing, rule.Alert) {
					firing = append(firing, rule.Alert)
				}
			}
			query.Close()
		}
		pending = stillTrue
		for _, look := range one.Looks {
			if look.At == now {
				compare(t, look, firing)
			}
		}
	}
}

// The expression is one that counts ALERTS; all that it can leave out are those of missing processes.
func compare(t *testing.T, look look, firing []string) {
	if strings.Contains(look.Expr, `alertname!~".*Missing"`) {
		firing = slices.DeleteFunc(firing, func(name string) bool { return strings.HasSuffix(name, "Missing") })
	}
	wanted := []string{}
	for _, sample := range look.ExpSamples {
		labels, err := parser.NewParser(parser.Options{}).ParseMetric(sample.Labels)
		if err != nil {
			t.Fatal(err)
		}
		wanted = append(wanted, labels.Get("alertname"))
	}
	slices.Sort(firing)
	slices.Sort(wanted)
	if !slices.Equal(firing, wanted) {
		t.Errorf("after %v these fire: %v, and should: %v", look.At, firing, wanted)
	}
}
