module digest

go 1.19
