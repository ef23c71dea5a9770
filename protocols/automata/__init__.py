"""State machines, regular expressions and peekable sources for parsing streams.

sources, dotdict        what machines read from and store into
states, machines, stepping
                        states, machines of states, the stepwise run
expressions, fragments, minimise, tables, utf8
                        a regular expression to the smallest machine
regexes                 ... as a machine of states
compiled                ... as a table that runs over bytes or text as it arrives
captures                named parts of what an expression matched
pictures                a machine as Graphviz text or as a table
"""
