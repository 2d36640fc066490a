mkdir diary
