GDB ?= gdb -q
.PHONY: test check run debug clean
test: @NAME@@SUFFIX@
	$(PYTHON) -m pytest -q

check: @NAME@@SUFFIX@
	$(PYTHON) -m slipstream check ./@NAME@@SUFFIX@

run: @NAME@@SUFFIX@
	$(PYTHON) -m slipstream run --data-dir data --slipstream-config @NAME@.json5 events.jsonl

# The plugin runs in a worker process: gdb follows it, and waits where your code begins.
debug: @NAME@@SUFFIX@
	$(GDB) -ex 'set breakpoint pending on' -ex 'set follow-fork-mode child' \
		-ex 'break @BREAK@' -ex run --args $(PYTHON) -m slipstream run \
		--slipstream-config debug.json5 events.jsonl

clean:
	rm -f @NAME@@SUFFIX@
